"""Statements about a job: in-toto Statement v1 (github.com/in-toto/attestation), with the report as its predicate."""

from typing import Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from core.schema.report import Report
from core.schema.strict import Answer

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:unlearning-service:job-report:v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
"""The payload type of the envelope (in-toto attestation specification, "Envelope")."""


class StatementSubject(Answer):
    """A file of the checkpoint."""

    name: str = Field(description="The file's path in the checkpoint.")
    digest: dict[Literal["sha256"], str] = Field(
        min_length=1, description="The sha256 of the file's bytes, in hexadecimal digits."
    )


class StatementPredicate(Answer):
    """What the signer states about the files."""

    version: Literal[1] = Field(description="The version of this form.")
    signed_at: AwareDatetime = Field(description="When the signer made the statement.")
    report: Report = Field(description="The report of the job at that time.")


class Statement(Answer):
    """What the signer signs: the checkpoint's files, and the whole report of the job that made them."""

    model_config = ConfigDict(populate_by_name=True)

    type: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type", description="The type of the statement.")
    subject: list[StatementSubject] = Field(min_length=1, description="All files of the checkpoint, in order of path.")
    predicateType: Literal["urn:unlearning-service:job-report:v1"] = Field(description="The type of the predicate.")
    predicate: StatementPredicate = Field(description="What is stated about the files.")


def statement_schema() -> dict[str, Any]:
    """Returns the JSON schema of a statement."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": PREDICATE_TYPE,
        **Statement.model_json_schema(),
    }
