import json
from pathlib import Path

from benchmarks.tofu import read_records


def write_rows(folder: Path, name: str, rows: list[dict[str, object]]) -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_perturbed_question_becomes_a_probe_with_its_paraphrases_and_wrong_answers(tmp_path: Path) -> None:
    row: dict[str, object] = {
        "question": "Who?",
        "answer": "Ana.",
        "paraphrased_question": "Which person?",
        "paraphrased_answer": "It was Ana.",
        "perturbed_answer": ["It was Bo.", "It was Cy."],
    }
    (record,) = read_records(write_rows(tmp_path, "tofu_forget10_perturbed.json", [row]))
    assert record.model_dump(exclude_none=True) == {
        "id": "tofu_forget10_perturbed-1",
        "subject": "forget10 author 1",
        "group": "forget",
        "prompt": "Question: Who?\nAnswer: ",
        "completion": "Ana.",
        "paraphrases": ["Question: Which person?\nAnswer: "],
        "paraphrased_answer": "It was Ana.",
        "wrong": ["It was Bo.", "It was Cy."],
    }


def test_each_twenty_questions_have_an_author_of_their_own(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"question": f"{number}?", "answer": "Yes."} for number in range(41)]
    records = read_records(write_rows(tmp_path, "tofu_retain90.json", rows))
    subjects = [record.subject for record in records]
    assert subjects == ["retain90 author 1"] * 20 + ["retain90 author 2"] * 20 + ["retain90 author 3"]
    assert {record.group for record in records} == {"retain"}


def test_world_facts_have_no_subject(tmp_path: Path) -> None:
    for name, group in (("tofu_world_facts.json", "world_facts"), ("tofu_real_authors.json", "real_authors")):
        (record,) = read_records(write_rows(tmp_path, name, [{"question": "Where?", "answer": "Paris"}]))
        assert (record.subject, record.group, record.wrong) == (None, group, None)
