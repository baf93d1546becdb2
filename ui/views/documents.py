"""The documents of a collection, page by page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from search_app.api.schemas import DocumentsResponse, JobOut
from ui import cards, job_cards
from ui.client import ApiError
from ui.session import client, original_button, show_error, show_nothing_indexed

SHOWN = 20
POLL_SECONDS = 1.0


def main() -> None:
    """Draw the page."""
    st.html('<h1 class="sa-heading">Documents</h1>')
    _take_finished()
    # Before anything that may fail while the job renames or deletes the collection. The container keeps the place.
    with st.container():
        if waiting := st.session_state.get("waiting"):
            st.fragment(_watch, run_every=POLL_SECONDS)(*waiting[:2])
    try:
        collections = client().collections()
        if not collections:
            client().require_ready()
    except ApiError as error:
        show_nothing_indexed(error)
        return
    names = [item.name for item in collections]
    if (chosen := st.session_state.pop("next_collection", None)) in names:
        st.session_state["collection"] = chosen
    collection = st.selectbox("Collection", names, key="collection", bind="query-params")
    page = int(st.session_state.get("page", 1))
    try:
        found = client().documents(collection, limit=SHOWN, offset=(page - 1) * SHOWN)
    except ApiError as error:
        show_error(error)
        return
    # One element, however long the list: what follows it keeps its place, and a form there what was typed.
    with st.container():
        _listed(collection, found)
    if found.total > SHOWN:
        st.pagination(-(-found.total // SHOWN), key="page", bind="query-params")
    _collection_menu(collection, names)


def _listed(collection: str, found: DocumentsResponse) -> None:
    st.caption(job_cards.counted(found.total, "document"))
    if not found.total:
        st.html(job_cards.add_link(collection))
    for item in found.documents:
        # Not the position in the list: if the list has changed, a click would hit another document.
        own = f"{collection}-{item.id}"
        with st.container(border=True, gap="xsmall"):
            st.html(cards.summary(item))
            with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"ways-{own}"):
                st.html(cards.place_link("Read", collection, item.id), width="content")
                original_button(collection, item.id, item.source, item.url, key=f"original-{own}")
                with st.popover("Delete", icon=":material/delete:", type="tertiary"):
                    st.caption(
                        "It will no longer appear in searches. If its file changes in an indexed folder, it is"
                        " indexed again."
                    )
                    if st.button("Delete this document", type="primary", key=f"delete-{own}"):
                        _delete(collection, item.id)


def _collection_menu(collection: str, names: Sequence[str]) -> None:
    """Rename or delete the whole collection."""
    with st.expander("Rename or delete this collection", icon=":material/settings:"):
        with st.form("rename", border=False):
            name = st.text_input("New name", value=collection, max_chars=64, help="Letters, digits, - and _")
            renaming = st.form_submit_button("Rename")
        with st.form("drop", border=False):
            typed = st.text_input(
                "Name of the collection to delete",
                placeholder=collection,
                help="Type the name to confirm. Uploaded files and schedules are deleted too.",
            )
            dropping = st.form_submit_button("Delete collection")
    if renaming and name != collection:
        _start(lambda: client().rename_collection(collection, name.strip()), name.strip())
    if dropping:
        if typed.strip() == collection:
            others = [item for item in names if item != collection]
            _start(lambda: client().drop_collection(collection), others[0] if others else "")
        else:
            st.warning(f"Type the name of the collection to delete it: {collection}")


def _delete(collection: str, document_id: str) -> None:
    _start(lambda: client().delete(collection, [document_id]), collection)


def _start(send: Callable[[], JobOut], afterwards: str) -> None:
    """Queue a job; when it is done, show the collection `afterwards`."""
    try:
        job = send()
    except ApiError as error:
        show_error(error)
        return
    st.session_state["waiting"] = (job.collection, job.id, afterwards)
    st.rerun()


def _take_finished() -> None:
    """When the job that the page waits for has ended, show its error or the collection that it leads to."""
    if not (waiting := st.session_state.get("waiting")):
        return
    collection, job_id, afterwards = waiting
    try:
        job = client().job(collection, job_id)
    except ApiError:
        return  # `_watch` shows it
    if job.state in job_cards.ACTIVE:
        return
    del st.session_state["waiting"]
    if job.error is not None:
        show_error(ApiError(job.error.message, hint=job.error.hint))
    elif afterwards != collection:
        st.session_state["next_collection"] = afterwards


def _watch(collection: str, job_id: str) -> None:
    """Show the job's progress, and draw the page again when it has ended; that may be asked for several times."""
    try:
        job = client().job(collection, job_id)
    except ApiError as error:
        show_error(error)
        return
    if job.state in job_cards.ACTIVE:
        st.html(job_cards.working(collection, job))
    else:
        st.rerun()


main()
