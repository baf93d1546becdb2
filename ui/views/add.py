"""Add documents: files from the browser, or a folder of the server, once or on a schedule."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from indexing import formats
from search_app.api.schemas import JobOut, JobsResponse, ScheduleOut
from search_app.errors import ConfigurationError
from search_app.settings import check_collection_name
from ui import job_cards
from ui.client import ApiError, ApiUnreachable
from ui.session import WORKER_COMMAND, client, show_command, show_error

FORMATS = f"{formats.titles()}, and zip files of them"
POLL_SECONDS = 1.0
SHOWN = 10


def main() -> None:
    """Draw the page."""
    st.html('<h1 class="sa-heading">Add documents</h1>')
    try:
        collection = _collection([item.name for item in client().collections()])
        folders, schedules = client().folders(), client().schedules(collection)
        found = client().jobs(collection, limit=SHOWN)
    except ApiError as error:
        show_error(error)
        st.button("Try again", icon=":material/refresh:")
        return
    # A container in any case: tabs that move in the page forget which of them is open.
    with st.container():
        if not found.workers:
            _no_worker()
    if folders or schedules:
        files, server = st.tabs(["Files from this device", "A folder of the server"])
        with files:
            _upload(collection, "; for more, let the server index a folder")
        with server:
            _folders(collection, folders)
            _schedules(collection, schedules)
    else:
        _upload(collection)
    _jobs(collection, found)


def _collection(known: list[str]) -> str:
    names = known or ["default"]
    if (typed := st.session_state.get("collection")) and typed not in names:
        names = [*names, typed]
    chosen = st.selectbox(
        "Collection",
        names,
        index=names.index("default") if "default" in names else 0,
        key="collection",
        bind="query-params",
        accept_new_options=True,
        placeholder="Choose one or type a new name",
        help="Choose one, or type the name of a new one: letters, digits, - and _",
    )
    try:
        return check_collection_name((chosen or names[0]).strip())
    except ConfigurationError as error:
        raise ApiError(error.message, hint=error.hint) from error


def _no_worker() -> None:
    st.html(
        '<div class="sa-notice" role="status"><strong>No worker is running.</strong>'
        " Files will be processed once a worker starts.</div>"
    )
    st.caption("Start one with:")
    show_command(WORKER_COMMAND)


def _upload(collection: str, advice: str = "") -> None:
    number = int(st.session_state.get("uploads", 0))
    most = int(st.get_option("server.maxUploadSize"))
    files = st.file_uploader("Drop files here, or choose them", accept_multiple_files=True, key=f"files-{number}")
    st.caption(f"{FORMATS}. Up to {most} MB each{advice}.")
    label = f"Add {len(files):,} files" if len(files) > 1 else "Add"
    if st.button(label, type="primary", disabled=not files, icon=":material/upload:"):
        try:
            with st.spinner("Sending"):
                client().upload(collection, [(file.name, file) for file in files])
        except ApiError as error:
            show_error(error)
            return
        # A new key gives a new, empty upload box and frees the bytes of this one.
        st.session_state["uploads"] = number + 1
        st.rerun()


def _folders(collection: str, folders: list[str]) -> None:
    if not folders:
        return
    folder = st.selectbox("Folder", folders, key="folder")
    every = st.selectbox("How often", list(job_cards.REPEATS), format_func=job_cards.REPEATS.__getitem__, key="every")
    if every == job_cards.OWN:
        every = st.text_input(
            "Times",
            key="cron",
            placeholder="30 6 * * 1-5",
            help="As in cron: minute, hour, day of the month, month, day of the week. "
            "`30 6 * * 1-5` is 6:30 from Monday to Friday, by the server's clock",
        )
    if st.button("Index this folder", type="primary", icon=":material/sync:"):
        try:
            client().index_folder(collection, folder, every=None if every == job_cards.ONCE else every)
        except ApiError as error:
            show_error(error)
            return
        st.rerun()


def _schedules(collection: str, schedules: list[ScheduleOut]) -> None:
    if schedules:
        st.subheader("Repeated", anchor=False)
    now = datetime.now(UTC)
    for item in schedules:
        with st.container(horizontal=True, vertical_alignment="center", key=f"schedule-{item.id}"):
            st.html(job_cards.schedule(item, now))
            if st.button("Remove", key=f"unschedule-{item.id}", type="tertiary", icon=":material/close:"):
                try:
                    client().unschedule(collection, item.id)
                except ApiError as error:
                    show_error(error)
                    return
                st.rerun()


def _jobs(collection: str, found: JobsResponse) -> None:
    """Poll the server only while a job waits or runs."""
    busy = any(job.state in job_cards.ACTIVE for job in found.jobs)
    st.fragment(_show_jobs, run_every=POLL_SECONDS if busy else None)(collection, busy, bool(found.workers))


def _show_jobs(collection: str, busy: bool, worked: bool) -> None:
    try:
        found = client().jobs(collection, limit=SHOWN)
    except ApiUnreachable as error:
        show_error(error)
        return
    if busy and (bool(found.workers) != worked or not any(job.state in job_cards.ACTIVE for job in found.jobs)):
        st.rerun()
    now = datetime.now(UTC)
    current = [job for job in found.jobs if job.state in job_cards.ACTIVE] or found.jobs[:1]
    for job in reversed(current):
        _show(collection, job, now)
    if rest := [job for job in found.jobs if job not in current]:
        st.subheader("Earlier", anchor=False)
        st.html("".join(job_cards.earlier(job, now) for job in rest))


def _show(collection: str, job: JobOut, now: datetime) -> None:
    with st.container(border=True, gap="small", key=f"job-{job.id}"):
        head = job_cards.head(job, now) + job_cards.plan(job)
        if job.state in job_cards.ACTIVE:
            st.html(head)
            if job.state == "running":
                share, words = job_cards.progress(job)
                st.progress(share, text=words)
            if st.button("Cancel", key=f"cancel-{job.id}", type="tertiary", disabled=job.cancel_requested):
                _cancel(collection, job)
            return
        st.html(head + job_cards.outcome(job))
        if job.error is not None:
            show_error(ApiError(job.error.message, hint=job.error.hint))
        if job.kind in ("upload", "folder") and job.state == "done" and job.result is not None:
            st.html(job_cards.ask_link(collection))


def _cancel(collection: str, job: JobOut) -> None:
    try:
        client().cancel(collection, job.id)
    except ApiError as error:
        show_error(error)
        return
    st.rerun()


main()
