"""The benchmarks' data: whole people in one set each, and another choice for another seed."""

from pathlib import Path

import pytest

from benchmarks.datasets import FILES, DataMissing, sets

PUBLIC = Path(__file__).parents[4] / "shared" / "data"


@pytest.mark.parametrize("data", sorted(FILES))
def test_nobody_is_in_two_of_the_sets(data):
    if not all((PUBLIC / file).exists() for file in FILES[data]):
        pytest.skip(f"{data}: its public files are not beside the checkout")
    made = sets(data, 0, PUBLIC)
    subjects = {name: {record.subject for record in made[name]} for name in ("forget", "retain", "unseen")}
    assert None not in subjects["forget"] | subjects["retain"] | subjects["unseen"]
    assert not subjects["forget"] & (subjects["retain"] | subjects["unseen"])
    assert not subjects["retain"] & subjects["unseen"]
    texts = [set(record.all_texts()) for record in made["unseen"]]
    known = {text for name in ("forget", "retain") for record in made[name] for text in record.all_texts()}
    assert not [one for one in texts if one <= known]
    assert made == sets(data, 0, PUBLIC)
    assert made["forget"] != sets(data, 1, PUBLIC)["forget"]


def test_probes_ask_of_those_to_forget_and_protected_of_those_to_keep():
    if not (PUBLIC / FILES["tofu"][0]).exists():
        pytest.skip("tofu: its public files are not beside the checkout")
    made = sets("tofu", 0, PUBLIC)
    for asked, of in (("probes", "forget"), ("protected", "retain")):
        assert {record.subject for record in made[asked]} == {record.subject for record in made[of]}
        assert all(record.wrong and record.paraphrased_answer for record in made[asked])


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(DataMissing, match=r"lume_pii_forget\.jsonl"):
        sets("lume", 0, tmp_path)
