"""The search page. The URL holds the question, so that a search can be linked and revisited."""

from __future__ import annotations

import streamlit as st

from search_app.api.schemas import AnswerOut, CollectionOut, HitOut, SearchResponse
from ui import cards, job_cards
from ui.client import ApiError
from ui.session import client, original_button, show_command, show_error, show_nothing_indexed

MOST_ANSWERS, MOST_HITS = 10, 50
LEAST_CONFIDENCE = 0.01
"""A guess below it is not shown."""


def main() -> None:
    """Draw the page."""
    st.html('<h1 class="sa-heading">Ask your documents</h1>')
    try:
        collections = client().collections()
        if not any(item.error is None for item in collections):
            client().require_ready()
    except ApiError as error:
        show_nothing_indexed(error)
        return
    box, button = st.columns([6, 1], vertical_alignment="bottom")
    question = box.text_input(
        "Question",
        key="q",
        bind="query-params",
        placeholder="What would you like to know?",
        icon=":material/search:",
        label_visibility="collapsed",
    )
    button.button("Search", type="primary", width="stretch")
    collection, where, top_k, k = _options(collections)
    if not (question and question.strip()):
        _welcome(collections, collection)
        return
    try:
        with st.spinner("Searching"):
            response = client().answer(collection, question, k=k, top_k=top_k, where=where)
    except ApiError as error:
        show_error(error)
        return
    _show(response, collection, filtered=bool(where.strip()))


def _options(collections: list[CollectionOut]) -> tuple[str, str, int, int]:
    names = [item.name for item in collections]
    left, middle, right, far = st.columns([3, 5, 2, 2], vertical_alignment="bottom")
    collection = left.selectbox(
        "Collection",
        names,
        index=names.index("default") if "default" in names else 0,
        key="collection",
        bind="query-params",
    )
    where = middle.text_input(
        "Filter",
        key="where",
        bind="query-params",
        placeholder="modified>=2026-01-01",
        help="Conditions on the documents' fields, such as `modified>=2026-01-01 and format=pdf`",
    )
    top_k = right.number_input("Answers", 1, MOST_ANSWERS, 3, key="answers", bind="query-params")
    k = far.number_input("Passages", 1, MOST_HITS, 10, key="passages", bind="query-params")
    return collection or names[0], where or "", int(top_k or 1), int(k or 1)


def _welcome(collections: list[CollectionOut], chosen: str) -> None:
    item = next(item for item in collections if item.name == chosen)
    if item.error is not None:
        show_error(ApiError(item.error, hint=item.hint or ""))
    elif item.documents == 0:
        st.html('<div class="sa-notice" role="status"><strong>This collection is empty.</strong></div>')
        flag = "" if chosen == "default" else f" --collection {chosen}"
        st.html(job_cards.add_link(chosen))
        st.caption("Or, on the server:")
        show_command(f"search-index apply{flag} PATH")
    else:
        st.caption(f"{job_cards.counted(item.documents, 'document')}, {job_cards.counted(item.passages, 'passage')}")


def _show(response: SearchResponse, collection: str, *, filtered: bool) -> None:
    st.html(cards.timings(response))
    if response.degraded:
        st.html(cards.DEGRADED)
    if not response.hits:
        st.html(cards.nothing_found(filtered))
        return
    placed = [item for item in response.answers if item.start is not None]
    reliable = [item for item in placed if item.reliable]
    if not reliable and "read" in response.timings:  # a keyword query is not read
        st.html(cards.no_answer(response.answers[0] if response.answers else None))
    if reliable:
        st.subheader("Answers", anchor=False)
        dated = len({item.document_id for item in reliable}) > 1
        for number, item in enumerate(reliable):
            _answer(number, item, collection, dated=dated)
    _guesses([item for item in placed if not item.reliable], len(reliable), collection)
    st.subheader("Passages", anchor=False)
    for number, hit in enumerate(response.hits, start=1):
        _hit(number, hit, collection)


def _guesses(items: list[AnswerOut], first: int, collection: str) -> None:
    """Answers that keep no promise, one click away. Those that are almost surely wrong are left out."""
    likely = [item for item in items if item.confidence is None or item.confidence >= LEAST_CONFIDENCE]
    if not likely:
        return
    with st.expander("One guess" if len(likely) == 1 else f"{len(likely)} guesses", key="guesses"):
        st.caption("These are more often wrong than you allow. Check them in their passages.")
        for number, item in enumerate(likely, start=first):
            _answer(number, item, collection, dated=True)


def _answer(number: int, item: AnswerOut, collection: str, *, dated: bool) -> None:
    with st.container(border=True, gap="xsmall"):
        st.html(cards.answer(item, dated=dated))
        if item.document_id is not None:
            _ways(f"answer-{number}", collection, item.document_id, item.source or "", item.url, item.start, item.end)


def _hit(rank: int, item: HitOut, collection: str) -> None:
    with st.container(gap="xsmall", key=f"hit-{rank}"):
        st.html(cards.hit(rank, item))
        _ways(f"hit-{rank}", collection, item.document_id, item.source, item.url, item.start, item.end)


def _ways(
    key: str, collection: str, document_id: str, source: str, url: str | None, start: int | None, end: int | None
) -> None:
    """Links to the place in the document and to the original."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"ways-{key}"):
        st.html(cards.place_link("Show in document", collection, document_id, start, end), width="content")
        original_button(collection, document_id, source, url, key=f"original-{key}")


main()
