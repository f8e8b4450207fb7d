"""The demo's people: invented, reproducible, disjoint."""

import re
import subprocess
import sys

import pytest

from core.demo.people import demo_sets, general_sentences, people, read_jsonl, write_jsonl


def test_the_seed_decides_the_people() -> None:
    assert people(30, 4) == people(30, 4)
    assert people(30, 4) != people(30, 5)


def test_more_people_begin_with_the_same_ones() -> None:
    assert people(50, 1)[:20] == people(20, 1)


def test_the_sets_hold_different_people_and_have_the_requested_sizes() -> None:
    sets = demo_sets(forget=20, retain=40, unseen=30, seed=3)
    assert {name: len(records) for name, records in sets.items()} == {"forget": 20, "retain": 40, "unseen": 30}
    subjects = [record.subject for records in sets.values() for record in records]
    identities = [record.id for records in sets.values() for record in records]
    assert len(set(subjects)) == len(set(identities)) == 90


def test_by_default_the_sets_have_the_demos_sizes() -> None:
    assert {name: len(records) for name, records in demo_sets().items()} == {
        "forget": 200,
        "retain": 400,
        "unseen": 400,
    }


def test_telephone_numbers_and_mail_addresses_are_reserved_for_fiction() -> None:
    for record in people(200, 0):
        assert record.text is not None
        assert re.findall(r"\b\d{3}-\d{4}\b", record.text) == re.findall(r"\b555-01\d{2}\b", record.text) != []
        assert all(address.endswith("@example.org") for address in re.findall(r"\S+@\w+\.\w+", record.text))


def test_every_record_names_its_subject_and_differs_from_the_others() -> None:
    records = people(200, 0)
    assert all(record.subject is not None and record.subject in (record.text or "") for record in records)
    assert len({record.text for record in records}) == 200


def test_a_record_as_prompt_or_dialogue_says_the_same_as_its_text() -> None:
    texts, prompts, dialogues = (people(5, 9, form=form) for form in ("text", "prompt", "messages"))
    for text, prompt, dialogue in zip(texts, prompts, dialogues, strict=True):
        assert prompt.completion == text.text
        assert prompt.subject == dialogue.subject == text.subject
        assert str(text.subject) in (prompt.prompt or "")
        assert dialogue.messages is not None
        assert dialogue.messages[-1].content == text.text


def test_more_people_than_names_are_refused() -> None:
    with pytest.raises(ValueError, match="names for at most"):
        people(1_000_000, 0)


def test_general_text_is_about_nobody() -> None:
    names = {word for record in people(300, 0) for word in str(record.subject).split()}
    records = general_sentences(100, 0)
    assert len(records) == 100
    assert records == general_sentences(100, 0)
    assert not names & {word for record in records for word in re.findall(r"\w+", record.text or "")}


def test_records_survive_the_file(tmp_path) -> None:
    records = people(10, 2, form="messages")
    write_jsonl(records, tmp_path / "people.jsonl")
    assert read_jsonl(tmp_path / "people.jsonl") == records


def test_making_people_loads_no_torch() -> None:
    code = "import core.demo.people, sys; core.demo.people.demo_sets(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
