"""A command says how the service read each file that it uploaded."""

from datetime import UTC, datetime

from api.cli.uploads import reading_summary
from core.schema.file_interpretation import FileInterpretation
from core.schema.files import File

FILE = File(
    id="file-0190",
    purpose="forget",
    filename="people.csv.gz",
    format="csv",
    bytes=90,
    sha256="0" * 64,
    records=1,
    created_at=datetime(2026, 11, 28, tzinfo=UTC),
    expires_at=None,
)


def test_a_file_is_said_with_all_that_was_understood() -> None:
    understood = FileInterpretation(
        encoding="Windows-1252",
        compression="gzip",
        separator="semicolon",
        shapes=["question and answer"],
        fields={"question": "prompt", "answer": "completion"},
        ignored=["unnamed: 0"],
        warnings=["the encoding was guessed"],
    )
    assert reading_summary(FILE.model_copy(update={"understood": understood})) == (
        "people.csv.gz: 1 record, read as csv, gzip, Windows-1252, semicolon, question and answer\n"
        "  fields: question as prompt, answer as completion\n"
        "  ignored: unnamed: 0\n"
        "  warning: the encoding was guessed"
    )


def test_a_file_of_before_has_its_format_alone() -> None:
    assert reading_summary(FILE.model_copy(update={"records": 2})) == "people.csv.gz: 2 records, read as csv"
