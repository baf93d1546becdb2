"""The names and ids in a request's path, with the pattern and length that OpenAPI states for each."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator, Field

from search_app.errors import ConfigurationError, InvalidQuery
from search_app.settings import COLLECTION_PATTERN, check_collection_name

_ID = "^[0-9a-z]+$"
_NAME_SCHEMA = {"minLength": 1, "maxLength": 64, "pattern": f"^{COLLECTION_PATTERN}$"}


def _check(name: str) -> str:
    try:
        return check_collection_name(name)
    except ConfigurationError as error:
        raise InvalidQuery(error.message, hint=error.hint, field="name") from error


CollectionName = Annotated[
    str,
    AfterValidator(_check),
    Path(description="Name of a collection", examples=["default"], json_schema_extra=_NAME_SCHEMA),
]
NewName = Annotated[str, AfterValidator(_check), Field(examples=["handbook"], json_schema_extra=_NAME_SCHEMA)]
DocumentId = Annotated[str, Path(description="Id of a document", min_length=1, max_length=256, pattern="^[^/]+$")]
JobId = Annotated[str, Path(description="Id of a job", min_length=1, max_length=64, pattern=_ID)]
ScheduleId = Annotated[str, Path(description="Id of a schedule", min_length=1, max_length=64, pattern=_ID)]
