"""Carries out the jobs of `search_app/queue/`."""
