"""The REST API; `schemas` is also the JSON of the command line and loads neither FastAPI nor torch."""
