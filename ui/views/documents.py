"""What is indexed, page by page."""

from __future__ import annotations

import streamlit as st

from ui import cards, job_cards
from ui.client import ApiError
from ui.session import client, original_button, show_error, show_nothing_indexed

SHOWN = 20
POLL_SECONDS = 1.0


def main() -> None:
    st.html('<h1 class="sa-heading">Documents</h1>')
    try:
        collections = client().collections()
        if not collections:
            client().require_ready()
    except ApiError as error:
        show_nothing_indexed(error)
        return
    names = [item.name for item in collections]
    collection = st.selectbox("Collection", names, key="collection", bind="query-params")
    page = int(st.session_state.get("page", 1))
    try:
        found = client().documents(collection, limit=SHOWN, offset=(page - 1) * SHOWN)
    except ApiError as error:
        show_error(error)
        return
    st.caption(job_cards.counted(found.total, "document"))
    if not found.total:
        st.html(job_cards.add_link(collection))
    if waiting := st.session_state.get("deletion"):
        st.fragment(_watch, run_every=POLL_SECONDS)(*waiting)
    for item in found.documents:
        # Never the place in the list: a click on a list that has changed meanwhile would meet another document.
        own = f"{collection}-{item.id}"
        with st.container(border=True, gap="xsmall"):
            st.html(cards.summary(item))
            with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"ways-{own}"):
                st.html(cards.place_link("Read", collection, item.id), width="content")
                original_button(collection, item.id, item.source, item.url, key=f"original-{own}")
                with st.popover("Delete", icon=":material/delete:", type="tertiary"):
                    st.caption(
                        "Nobody finds it any more. If its file changes in a folder that is indexed, it comes back."
                    )
                    if st.button("Delete this document", type="primary", key=f"delete-{own}"):
                        _delete(collection, item.id)
    if found.total > SHOWN:
        st.pagination(-(-found.total // SHOWN), key="page", bind="query-params")


def _delete(collection: str, document_id: str) -> None:
    try:
        job = client().delete(collection, [document_id])
    except ApiError as error:
        show_error(error)
        return
    st.session_state["deletion"] = (collection, job.id)
    st.rerun()


def _watch(collection: str, job_id: str) -> None:
    """Says how the deletion goes; at its end the list is read anew."""
    try:
        job = client().job(collection, job_id)
    except ApiError as error:
        show_error(error)
        return
    if job.state in job_cards.ACTIVE:
        st.html(job_cards.deleting(collection))
        return
    del st.session_state["deletion"]
    if job.error is not None:
        show_error(ApiError(job.error.message, hint=job.error.hint))
        return
    st.rerun()


main()
