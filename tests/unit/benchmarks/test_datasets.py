"""The benchmarks' data: whole people in one set each, and another choice for another seed."""

from pathlib import Path

import pytest

from benchmarks.datasets import FILES, DataMissing, load_sets

PUBLIC = Path(__file__).parents[4] / "shared" / "data"


@pytest.mark.parametrize("data", sorted(FILES))
def test_nobody_is_in_two_of_the_sets(data):
    if not all((PUBLIC / file).exists() for file in FILES[data]):
        pytest.skip(f"{data}: its public files are not beside the checkout")
    records = load_sets(data, 0, PUBLIC)
    subjects = {name: {record.subject for record in records[name]} for name in ("forget", "retain", "unseen")}
    assert None not in subjects["forget"] | subjects["retain"] | subjects["unseen"]
    assert not subjects["forget"] & (subjects["retain"] | subjects["unseen"])
    assert not subjects["retain"] & subjects["unseen"]
    texts = [set(record.all_texts()) for record in records["unseen"]]
    known = {text for name in ("forget", "retain") for record in records[name] for text in record.all_texts()}
    assert not [record_texts for record_texts in texts if record_texts <= known]
    assert records == load_sets(data, 0, PUBLIC)
    assert records["forget"] != load_sets(data, 1, PUBLIC)["forget"]


def test_probes_are_about_the_people_to_forget_and_protected_questions_about_the_people_to_keep():
    if not (PUBLIC / FILES["tofu"][0]).exists():
        pytest.skip("tofu: its public files are not beside the checkout")
    records = load_sets("tofu", 0, PUBLIC)
    for questions, subjects_of in (("probes", "forget"), ("protected", "retain")):
        assert {record.subject for record in records[questions]} == {record.subject for record in records[subjects_of]}
        assert all(record.wrong and record.paraphrased_answer for record in records[questions])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataMissing, match=r"lume_pii_forget\.jsonl"):
        load_sets("lume", 0, tmp_path)
