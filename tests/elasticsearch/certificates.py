"""A private certificate authority and certificates, as folders for a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


class Authority:
    """`ca` is its certificate, PEM."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca)

    def sign(self, name: str, *, host: str = "127.0.0.1", expired: bool = False) -> Path:
        """A folder with cert.pem and key.pem."""
        ends = datetime.now(UTC) - timedelta(days=1) if expired else None
        leaf = self._authority.issue_cert(host, "localhost", not_after=ends)
        folder = self._folder / name
        folder.mkdir()
        (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(folder / "key.pem")
        return folder
