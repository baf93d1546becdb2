"""Shared by the pages: the API client, errors and links."""

from __future__ import annotations

import os
import re

import streamlit as st

from ui import cards, highlight, job_cards
from ui.client import ApiError, Client

INDEX_COMMAND_VARIABLE = "SEARCH_APP_UI_INDEX_COMMAND"
WORKER_COMMAND_VARIABLE = "SEARCH_APP_UI_WORKER_COMMAND"
WORKER_COMMAND = "search-index worker"
_INDEX = re.compile(r"search-index apply(?P<collection> --collection \S+)? PATH")


@st.cache_resource(show_spinner=False, on_release=Client.close)
def client() -> Client:
    """The API client of this process."""
    return Client.from_environment()


def show_error(error: ApiError) -> None:
    """Show an error, and its hint as text or as a command to copy."""
    st.html(cards.problem(error.message))
    command = error.hint.removeprefix("run: ")
    if command != error.hint:
        st.caption("Run this, then try again:")
        show_command(command)
    elif error.hint:
        st.html(f'<div class="sa-hint">{highlight.escape(error.hint)}</div>')


def show_nothing_indexed(error: ApiError) -> None:
    """Show why there is nothing to search, and a link to add documents if there are none."""
    show_error(error)
    if _INDEX.fullmatch(error.hint.removeprefix("run: ")):
        st.html(job_cards.add_link("default"))
    st.button("Try again", icon=":material/refresh:")


def show_command(command: str) -> None:
    """Show a command as it is run in this installation; containers use another one."""
    own = os.environ.get(INDEX_COMMAND_VARIABLE)
    if command == WORKER_COMMAND:
        command = os.environ.get(WORKER_COMMAND_VARIABLE) or command
    elif own and (found := _INDEX.fullmatch(command)):
        command = own + (found["collection"] or "")
    st.code(command, language="bash")


def original_button(collection: str, document_id: str, source: str, url: str | None, *, key: str) -> None:
    """A button for the original: its web address, else the API's copy of the file."""
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
