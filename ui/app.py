"""The Streamlit app: page navigation and style. `ui.launch` builds the command that runs it."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

st.set_page_config(page_title="Search", page_icon=Path(__file__).with_name("icon.svg"), layout="centered")
st.html(Path(__file__).with_name("style.css"))
# Not in a folder `pages`: a link into it that is the first to be opened would run without this file.
page = st.navigation(
    [
        st.Page("views/search.py", title="Search", icon=":material/search:", default=True),
        st.Page("views/documents.py", title="Documents", icon=":material/folder_open:"),
        st.Page("views/add.py", title="Add", icon=":material/upload_file:"),
        st.Page("views/document.py", title="Document", icon=":material/description:", visibility="hidden"),
    ],
    position="top",
)
page.run()
