"""Benchmarks of this program and of others beside it; each command writes its tables to docs/."""

import os

# Before any library reads them: no telemetry, and no network while something is measured.
os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
