"""Drop and rename a collection, with its uploaded files and its schedules."""

from __future__ import annotations

from contextlib import closing

from indexing.worker.library import Library
from search_app.errors import IndexNotFound, SearchAppError
from search_app.queue.queue import JobQueue
from search_app.queue.schedules import Schedules
from search_app.settings import Settings
from search_app.stores.catalog import open_catalog


def drop(settings: Settings, name: str) -> None:
    """Delete the collection, its uploaded files and its schedules. Queued jobs stay in the queue.

    Raises IndexNotFound, or IndexBusy while a job writes to it. A killed call can be repeated.
    """
    library = Library(settings, name)
    with closing(open_catalog(settings)) as catalog:
        try:
            catalog.drop(name)
        except IndexNotFound:
            if not library.folder.exists():  # else an earlier call was killed before it deleted the files
                raise
    library.delete()
    with closing(JobQueue.from_settings(settings)) as queue:
        if queue.exists():
            Schedules(queue).remove_all(name)


def rename(settings: Settings, old: str, new: str) -> None:
    """Give the collection another name; its uploaded files and its schedules move along.

    Queued jobs keep the old name. Raises IndexNotFound, IndexBusy while a job writes to either name, and
    ConfigurationError for a bad or taken name. A killed call can be repeated.
    """
    library = Library(settings, old)
    with closing(open_catalog(settings)) as catalog:
        known = catalog.names()
        if old in known or not (new in known and library.was_renamed(new)):  # else a killed call came this far
            if old in known and new not in known:
                library.prepare_rename(new)
            try:
                catalog.rename(old, new)
            except SearchAppError:
                if new not in known:  # else a later collection of that name would share the folder
                    library.cancel_rename(new)
                raise
    library.finish_rename(new)
    with closing(JobQueue.from_settings(settings)) as queue:
        if queue.exists():
            Schedules(queue).rename_collection(old, new)
