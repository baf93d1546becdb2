"""Ends with 0 where a worker of this container has reported itself to the queue of jobs lately."""

from __future__ import annotations

import socket
import sys
from contextlib import closing

from search_app.queue.queue import JobQueue
from search_app.settings import load_settings

with closing(JobQueue.of(load_settings())) as queue:
    alive = [worker.name for worker in queue.workers() if worker.name.startswith(f"{socket.gethostname()}-")]
sys.exit(not alive)
