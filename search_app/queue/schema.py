"""The tables of jobs.db, and their version."""

VERSION = 1

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    collection TEXT NOT NULL,
    kind TEXT NOT NULL,
    request TEXT NOT NULL,
    state TEXT NOT NULL,
    created REAL NOT NULL,
    started REAL,
    ended REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    stage TEXT NOT NULL DEFAULT '',
    bytes_done INTEGER NOT NULL DEFAULT 0,
    bytes_total INTEGER,
    eta_seconds REAL,
    plan TEXT NOT NULL DEFAULT 'null',
    result TEXT NOT NULL DEFAULT 'null',
    problems TEXT NOT NULL DEFAULT '[]',
    skips TEXT NOT NULL DEFAULT '[]',
    warnings TEXT NOT NULL DEFAULT '[]',
    error TEXT,
    hint TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    not_before REAL NOT NULL DEFAULT 0,
    worker TEXT,
    lease TEXT,
    machine TEXT,
    process INTEGER,
    process_started TEXT,
    renewed REAL,
    lease_seconds REAL,
    rate_since REAL,
    rate_from INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS jobs_of_collection ON jobs (collection, seq);
CREATE INDEX IF NOT EXISTS jobs_open ON jobs (collection, seq) WHERE ended IS NULL;
CREATE INDEX IF NOT EXISTS jobs_ended ON jobs (ended, seq) WHERE ended IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS one_runs_in_a_collection ON jobs (collection) WHERE state = 'running';
CREATE TABLE IF NOT EXISTS schedules (
    id TEXT PRIMARY KEY,
    collection TEXT NOT NULL,
    folder TEXT NOT NULL,
    every TEXT NOT NULL,
    next REAL NOT NULL,
    last_job TEXT NOT NULL,
    UNIQUE (collection, folder)
) STRICT;
CREATE TABLE IF NOT EXISTS workers (
    name TEXT PRIMARY KEY,
    machine TEXT NOT NULL,
    process INTEGER NOT NULL,
    started TEXT NOT NULL,
    seen REAL NOT NULL
) STRICT;
PRAGMA user_version = {VERSION};
"""

NO_LEASE = (
    "worker = NULL, lease = NULL, machine = NULL, process = NULL, process_started = NULL, renewed = NULL,"
    " lease_seconds = NULL, rate_since = NULL, rate_from = NULL, eta_seconds = NULL"
)
"""Assignments of an UPDATE that end a job's lease."""
