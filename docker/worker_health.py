"""Health check: exit with 0 if a worker of this container has recently reported to the job queue."""

from __future__ import annotations

import socket
import sys
from contextlib import closing

from search_app.queue.queue import JobQueue
from search_app.settings import load_settings

with closing(JobQueue.from_settings(load_settings())) as queue:
    alive = [worker.name for worker in queue.live_workers() if worker.name.startswith(f"{socket.gethostname()}-")]
sys.exit(not alive)
