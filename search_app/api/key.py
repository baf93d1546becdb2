"""The API's key: given, or made once in a file that API and UI share."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from search_app.errors import ConfigurationError
from search_app.settings import ApiSettings

_BYTES = 32


def api_key(settings: ApiSettings) -> str:
    """`settings.key`, else what `settings.key_file` holds, which is made where there is none; "" without either."""
    if settings.key:
        return settings.key.get_secret_value()
    return read_or_make(settings.key_file) if settings.key_file else ""


def read_or_make(path: Path, *, mode: int = 0o400) -> str:
    """The secret in the file; where there is none, 256 random bits, the same for all that come at once."""
    try:
        try:
            secret = path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            _make(path, mode)
            secret = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a key"
        raise ConfigurationError(
            f"the key file {path} cannot be used: {reason}",
            hint="check the folder's permissions, or set SEARCH_APP_API__KEY_FILE to another place",
            field="api.key_file",
        ) from error
    if not secret:
        raise ConfigurationError(f"the key file {path} is empty", hint="remove it", field="api.key_file")
    return secret


def _make(path: Path, mode: int) -> None:
    """Written beside its place and linked there: nobody sees half a key, and of two makers one wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(_BYTES))
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink(missing_ok=True)
