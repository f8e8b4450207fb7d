"""`unlearn verify` on a third party's machine: without the service, and with one thing changed at a time."""

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.statements.conftest import Delivered
from tests.integration.statements.third_party import failures, verify


@pytest.fixture
def copy(delivered: Delivered, tmp_path: Path) -> Path:
    """A folder with the statement, the public keys and the checkpoint, to change."""
    shutil.copytree(delivered.checkpoint, tmp_path / "checkpoint")
    for name in ("statement.json", "jwks.json"):
        shutil.copy(delivered.folder / name, tmp_path / name)
    return tmp_path


def change_statement(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the content of the statement, and leaves its signature as it is."""
    file = folder / "statement.json"
    envelope = json.loads(file.read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    change(statement)
    content = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    envelope["payload"] = base64.b64encode(content.encode()).decode()
    file.write_text(json.dumps(envelope))


EVERYTHING = ("--checkpoint", "checkpoint", "--keys", "jwks.json")


def test_an_unchanged_statement_holds_and_the_command_says_what_it_did_not_check(copy: Path) -> None:
    code, output = verify(copy, *EVERYTHING)
    assert (code, failures(output)) == (0, []), output
    for words in ("the signature of the whole statement", "files in checkpoint, byte by byte", "the verdict ("):
        assert any(line.startswith("holds") and words in line for line in output.splitlines()), (words, output)
    for words in ("--remeasure", "whether that key was revoked", "what only the service can know"):
        assert any(line.startswith("not checked") and words in line for line in output.splitlines()), (words, output)
    code, output = verify(copy)
    assert code == 0
    assert "not checked  the signature: name the signer's public keys with --keys" in output
    assert "not checked  the checkpoint's files" in output


def test_one_changed_byte_of_any_file_is_found_and_named(copy: Path) -> None:
    files = sorted(path for path in (copy / "checkpoint").rglob("*") if path.is_file())
    assert len(files) > 3
    for file in files:
        before = file.read_bytes()
        content = bytearray(before)
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        name = file.relative_to(copy / "checkpoint").as_posix()
        code, output = verify(copy, *EVERYTHING)
        (failure,) = failures(output)
        assert (code, failure.startswith(f"file {name}: ")) == (1, True), output
        file.write_bytes(before)


def test_a_missing_and_an_added_file_are_named(copy: Path) -> None:
    (copy / "checkpoint" / "config.json").rename(copy / "checkpoint" / "config.old")
    code, output = verify(copy, *EVERYTHING)
    assert code == 1
    assert failures(output) == [
        "file config.json: it is missing",
        "file config.old: it does not belong to the checkpoint",
    ]


@pytest.mark.parametrize("part", ["sig", "keyid", "payloadType", "payload"])
def test_one_changed_character_of_the_envelope_is_found(copy: Path, part: str) -> None:
    file = copy / "statement.json"
    envelope = json.loads(file.read_text())
    holder = envelope if part in envelope else envelope["signatures"][0]
    middle = len(holder[part]) // 2
    character = "A" if holder[part][middle] != "A" else "B"
    holder[part] = holder[part][:middle] + character + holder[part][middle + 1 :]
    file.write_text(json.dumps(envelope))
    code, output = verify(copy, *EVERYTHING)
    assert code == 1
    assert failures(output)[0].startswith("the signature: "), output


def test_a_changed_figure_is_found_by_the_signature_and_by_the_verdict_that_does_not_follow(copy: Path) -> None:
    def change(statement: dict[str, Any]) -> None:
        figure = statement["predicate"]["report"]["figures"]["after"]["sets"]["forget"]["extraction_strength"]
        figure["value"] += 0.125

    change_statement(copy, change)
    code, output = verify(copy, *EVERYTHING)
    assert code == 1
    named = failures(output)
    assert named[0].startswith("the signature: ")
    assert any(failure.startswith("the verdict, bound ") for failure in named), output
    code, output = verify(copy, "--checkpoint", "checkpoint")
    assert code == 1, "also without the public keys"


def test_a_changed_verdict_and_a_changed_bound_are_named(copy: Path) -> None:
    def change(statement: dict[str, Any]) -> None:
        verdict = statement["predicate"]["report"]["verdict"]
        verdict["result"] = "passed" if verdict["result"] != "passed" else "failed"

    change_statement(copy, change)
    code, output = verify(copy, *EVERYTHING)
    assert code == 1
    assert any(failure.startswith("the verdict, result: ") for failure in failures(output)), output


def test_a_changed_name_and_a_changed_digest_are_named(copy: Path) -> None:
    def rename(statement: dict[str, Any]) -> None:
        (subject,) = [subject for subject in statement["subject"] if subject["name"] == "config.json"]
        subject["name"] = "config.jsom"

    change_statement(copy, rename)
    code, output = verify(copy, *EVERYTHING)
    assert code == 1
    named = failures(output)
    assert any(failure.startswith("the statement, file config.jsom: ") for failure in named), output
    assert "file config.jsom: it is missing" in named


def test_a_report_about_another_checkpoint_is_named(copy: Path) -> None:
    def change(statement: dict[str, Any]) -> None:
        statement["predicate"]["report"]["checkpoint"]["digest"] = "0" * 64

    change_statement(copy, change)
    code, output = verify(copy, *EVERYTHING)
    assert code == 1
    assert any("is not that of its list of files" in failure for failure in failures(output)), output


def test_a_wrong_call_ends_with_2(copy: Path) -> None:
    (copy / "other.json").write_text("{}")
    assert verify(copy, "--keys", "other.json")[0] == 2
    assert verify(copy, "--remeasure")[0] == 2
    (copy / "statement.json").write_text('{"payload": 1}')
    assert verify(copy)[0] == 2


def test_given_files_are_compared_with_the_report_even_where_nothing_is_measured(
    delivered: Delivered, copy: Path
) -> None:
    code, output = verify(copy, *EVERYTHING, "--forget", str(delivered.records("forget")))
    assert (code, failures(output)) == (0, []), output
    assert "holds        the forget file forget.jsonl is the job's, by its sha256" in output
    other = copy / "other.jsonl"
    other.write_text(delivered.records("forget").read_text() + '{"text": "One more."}\n')
    code, output = verify(copy, *EVERYTHING, "--forget", str(other))
    assert code == 1
    assert failures(output) == ["--forget other.jsonl: it is not the job's file; its sha256 is another"]
    for option in ("--before", "--retrained-model", "--benchmark-tasks"):
        code, output = verify(copy, *EVERYTHING, option, str(delivered.base))
        assert (code, "--remeasure" in output) == (2, True), output


def test_a_key_file_with_a_broken_key_and_a_subject_without_a_digest_are_named(copy: Path) -> None:
    keys = json.loads((copy / "jwks.json").read_text())
    for key in keys["keys"]:
        key["pem"] = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    (copy / "broken.json").write_text(json.dumps(keys))
    code, output = verify(copy, "--keys", "broken.json")
    assert code == 1
    assert "cannot be read" in failures(output)[0]

    def change(statement: dict[str, Any]) -> None:
        statement["subject"][0]["digest"] = {}

    change_statement(copy, change)
    code, output = verify(copy)
    assert (code, len(failures(output))) == (1, 1), output


def texts(delivered: Delivered) -> list[str]:
    arguments = ["--remeasure", "--before", str(delivered.base), "--threads", "1"]
    for name in ("forget", "retain", "unseen"):
        arguments += [f"--{name}", str(delivered.records(name))]
    return arguments


def test_every_figure_is_made_again_to_the_last_digit(delivered: Delivered, copy: Path) -> None:
    code, output = verify(copy, *EVERYTHING, *texts(delivered))
    assert code == 0, output
    assert "they agree to the last digit" in output
    assert "--remeasure makes them again" not in output


def test_figures_that_rest_on_what_is_not_given_are_not_told_to_differ(delivered: Delivered, copy: Path) -> None:
    def change(statement: dict[str, Any]) -> None:
        statement["predicate"]["report"]["figures"]["after"]["sets"]["forget"]["perplexity"]["value"] *= 1.5

    given = texts(delivered)[: texts(delivered).index("--unseen")]
    given = [argument for argument in given if argument not in ("--before", str(delivered.base))]
    code, output = verify(copy, *EVERYTHING, *given)
    assert (code, failures(output)) == (0, []), output
    assert "they may rest on what is not given (--unseen, --before)" in output
    change_statement(copy, change)
    code, output = verify(copy, "--checkpoint", "checkpoint", *given)
    named = [failure for failure in failures(output) if failure.startswith("figures.")]
    assert (code, len(named)) == (1, 1), output
    assert named[0].startswith("figures.after.sets.forget.perplexity.value: ")


def test_a_changed_figure_is_named_where_the_figures_are_made_again(delivered: Delivered, copy: Path) -> None:
    def change(statement: dict[str, Any]) -> None:
        figure = statement["predicate"]["report"]["figures"]["after"]["sets"]["forget"]["perplexity"]
        figure["low"] *= 1.0000001

    change_statement(copy, change)
    code, output = verify(copy, "--checkpoint", "checkpoint", *texts(delivered))
    assert code == 1
    assert any(failure.startswith("figures.after.sets.forget.perplexity.low: ") for failure in failures(output)), output


def test_another_forget_file_is_named_and_nothing_is_measured(delivered: Delivered, copy: Path) -> None:
    other = copy / "other.jsonl"
    other.write_text(delivered.records("forget").read_text().replace("Forget 1 ", "Forget 2 ", 1))
    arguments = ["--remeasure", "--forget", str(other), "--before", str(delivered.base)]
    code, output = verify(copy, *EVERYTHING, *arguments)
    assert code == 1
    assert failures(output) == ["--forget other.jsonl: it is not the job's file; its sha256 is another"]


def test_figures_that_cannot_be_made_again_end_with_3(delivered: Delivered, copy: Path) -> None:
    arguments = ["--remeasure", "--forget", str(delivered.records("forget")), "--before", str(copy / "checkpoint")]
    (copy / "model").mkdir()
    code, output = verify(copy, *EVERYTHING, *arguments[:-1], str(copy / "model"))
    assert (code, "could not be made again" in output) == (3, True), output
