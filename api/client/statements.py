"""Signed evidence about jobs, and the public keys that check it."""

from pathlib import Path

from api.client.answers import ask, save
from api.client.call import get, url_path
from api.client.resource import Resource, Transport, operation
from api.client.steps import Steps
from core.schema.envelopes import Envelope
from core.schema.signing_keys import SigningKeySet


class Statements(Resource[Transport]):
    """`client.statements`: what the signer states about a job's checkpoint."""

    @operation
    def get(self, job: str) -> Steps[Envelope]:
        """Returns the newest statement in its envelope, and waits some seconds for a signer that has just begun.

        Raises Conflict with the `problem` `no-checkpoint`, `not-signed-yet`, or at once `statement-failed`: the signer
        failed, and tries again after `retry_after` seconds.
        """
        return ask(get(url_path("jobs", job, "statement")), Envelope)

    @operation
    def download(self, job: str, file: str | Path) -> Steps[Path]:
        """Writes the statement to the file, for `unlearn verify`, whole or not at all. Raises as `get`."""
        return save(get(url_path("jobs", job, "statement")), Path(file))

    @operation
    def keys(self) -> Steps[SigningKeySet]:
        """Returns all public keys that the signer has ever had."""
        return ask(get("/.well-known/jwks.json"), SigningKeySet)

    @operation
    def download_keys(self, file: str | Path) -> Steps[Path]:
        """Writes the public keys to the file, for `unlearn verify --keys`."""
        return save(get("/.well-known/jwks.json"), Path(file))

    @operation
    def download_model_signature(self, job: str, file: str | Path) -> Steps[Path]:
        """Writes the checkpoint's signature to the file, for OpenSSF's `model_signing verify`. Raises as `get`."""
        return save(get(url_path("jobs", job, "model-signature")), Path(file))

    @operation
    def download_bill_of_materials(self, job: str, file: str | Path) -> Steps[Path]:
        """Writes the CycloneDX bill of materials to the file. Raises Conflict without a checkpoint."""
        return save(get(url_path("jobs", job, "bill-of-materials")), Path(file))
