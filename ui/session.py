"""What the pages share: the API client and the two ways of saying that something is wrong."""

from __future__ import annotations

import streamlit as st

from ui import cards, highlight
from ui.client import ApiError, Client


@st.cache_resource(show_spinner=False, on_release=Client.close)
def client() -> Client:
    return Client.from_environment()


def show_error(error: ApiError) -> None:
    st.html(cards.problem(error.message))
    command = error.hint.removeprefix("run: ")
    if command != error.hint:
        st.caption("Run this, then try again:")
        st.code(command, language="bash")
    elif error.hint:
        st.html(f'<div class="sa-hint">{highlight.escape(error.hint)}</div>')


def original_button(collection: str, document_id: str, source: str, url: str | None, *, key: str) -> None:
    """Leads to the original: its web address, else the API's copy of the file."""
    if url:
        st.link_button("Original", url, icon=":material/open_in_new:", type="tertiary", key=key)
    else:
        st.download_button(
            "Original",
            # Only fetched once the button is pressed.
            data=lambda: _original(collection, document_id),
            file_name=cards.name_of(source) or "original",
            mime="application/octet-stream",
            icon=":material/download:",
            type="tertiary",
            on_click="ignore",
            key=key,
        )


def _original(collection: str, document_id: str) -> bytes:
    return client().original(collection, document_id)
