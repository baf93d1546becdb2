"""The job queue: the API adds jobs, `search-index worker` (`indexing/worker/`) leases and runs them.

| module | content |
|---|---|
| `jobs` | the records: Job, Schedule, WorkerIdentity |
| `queue` | JobQueue: enqueue, list, cancel; lease, renew, finish and release; order of jobs |
| `schedules` | folders that are indexed at the times of a cron expression |
| `staging` | uploaded files that wait for their job |
| `database`, `schema` | the SQLite file `jobs.db`, its tables and version |
"""
