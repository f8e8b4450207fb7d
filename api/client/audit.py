"""The audit log of the key's organisation."""

from datetime import datetime
from pathlib import Path
from typing import TypedDict, Unpack

from api.client.answers import ask
from api.client.audit_export import export
from api.client.call import get, url_path
from api.client.pages import every
from api.client.resource import Resource, Transport, operation, stream
from api.client.steps import Items, Steps
from core.schema.audit import AuditEntry, AuditHead, AuditPage


class AuditFilter(TypedDict, total=False):
    """Conditions on the entries of a list. All of them must hold."""

    key: str
    action: str
    object: str
    created_after: datetime
    created_before: datetime


class Audit(Resource[Transport]):
    """`client.audit`: who did what, and when."""

    @operation
    def page(self, *, limit: int = 20, after: int | None = None, **conditions: Unpack[AuditFilter]) -> Steps[AuditPage]:
        """Returns one page of the entries, newest first, with the head of the whole log."""
        return ask(get(url_path("audit"), limit=limit, after=after, **conditions), AuditPage)

    @stream
    def list(self, **conditions: Unpack[AuditFilter]) -> Items[AuditEntry]:
        """Iterates over all entries that meet the conditions, newest first."""
        return every(get(url_path("audit"), **conditions), AuditPage)

    @operation
    def export(self, file: str | Path, *, after: int = 0) -> Steps[AuditHead | None]:
        """Writes the log to the file as JSON Lines, oldest entry first, and returns the newest entry's number and hash.

        None: there is no entry with a higher number than `after`.

        Goes on after a lost connection, and checks that each entry has its hash and follows the entry before. The file
        is written whole or not at all; `unlearn verify` checks the signatures in it. Raises DigestMismatch.
        """
        return export(Path(file), after)
