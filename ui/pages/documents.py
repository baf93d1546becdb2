"""What is indexed, page by page."""

from __future__ import annotations

import streamlit as st

from ui import cards
from ui.client import ApiError
from ui.session import client, original_button, show_error

SHOWN = 20


def main() -> None:
    st.html('<h1 class="sa-heading">Documents</h1>')
    try:
        collections = client().collections()
        if not collections:
            client().require_ready()
    except ApiError as error:
        show_error(error)
        st.button("Try again", icon=":material/refresh:")
        return
    names = [item.name for item in collections]
    collection = st.selectbox("Collection", names, key="collection", bind="query-params")
    page = int(st.session_state.get("page", 1))
    try:
        found = client().documents(collection, limit=SHOWN, offset=(page - 1) * SHOWN)
    except ApiError as error:
        show_error(error)
        return
    st.caption(f"{found.total:,} documents")
    for number, item in enumerate(found.documents):
        with st.container(border=True, gap="xsmall"):
            st.html(cards.summary(item))
            with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"ways-{number}"):
                st.html(cards.place_link("Read", collection, item.id), width="content")
                original_button(collection, item.id, item.source, item.url, key=f"original-{number}")
    if found.total > SHOWN:
        st.pagination(-(-found.total // SHOWN), key="page", bind="query-params")


main()
