"""The names, ids and numbers in a request's path, with the limits that OpenAPI states for each."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from search_app.api.schemas import CheckedName

_ID = "^[0-9a-z]+$"

CollectionName = Annotated[CheckedName, Path(description="Name of a collection", examples=["default"])]
DocumentId = Annotated[str, Path(description="Id of a document", min_length=1, max_length=256, pattern="^[^/]+$")]
JobId = Annotated[str, Path(description="Id of a job", min_length=1, max_length=64, pattern=_ID)]
PageNumber = Annotated[int, Path(description="Number of a page, from 1", ge=1, le=1_000_000)]
ScheduleId = Annotated[str, Path(description="Id of a schedule", min_length=1, max_length=64, pattern=_ID)]
