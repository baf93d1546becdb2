"""The queue of jobs that the API fills and `search-index worker` (`indexing/worker/`) empties."""
