"""The benchmarks' data: whole people in one set each, and another choice for another seed."""

from pathlib import Path

import pytest

from benchmarks.datasets import FILES, DataMissing, digests, load_few, load_sets

PUBLIC = Path(__file__).parents[4] / "shared" / "data"


def loader(data, few):
    if not all((PUBLIC / file).exists() for file in FILES[data]):
        pytest.skip(f"{data}: its public files are not beside the checkout")
    return load_few if few else load_sets


OF_PEOPLE = sorted(set(FILES) - {"pretraining"})


@pytest.mark.parametrize(
    ("data", "few"), [*((data, False) for data in OF_PEOPLE), *((data, True) for data in ("demo", "lume", "tofu"))]
)
def test_nobody_is_in_two_of_the_sets(data, few):
    load = loader(data, few)
    records = load(data, 0, PUBLIC)
    subjects = {name: {record.subject for record in records[name]} for name in ("forget", "retain", "unseen")}
    assert None not in subjects["forget"] | subjects["retain"] | subjects["unseen"]
    assert not subjects["forget"] & (subjects["retain"] | subjects["unseen"])
    assert not subjects["retain"] & subjects["unseen"]
    texts = [set(record.all_texts()) for record in records["unseen"]]
    known = {text for name in ("forget", "retain") for record in records[name] for text in record.all_texts()}
    assert not [record_texts for record_texts in texts if record_texts <= known]
    assert records == load(data, 0, PUBLIC)
    assert records["forget"] != load(data, 1, PUBLIC)["forget"]


@pytest.mark.parametrize("count", [1, 5, 25, 40, 100])
def test_of_500_people_as_many_are_forgotten_as_the_name_says(count):
    records = load_sets(f"demo-{count}-of-500", 0, PUBLIC)
    assert len(records["forget"]) == count
    assert len(records["forget"]) + len(records["retain"]) == 500


@pytest.mark.parametrize("few", [False, True])
def test_probes_are_about_the_people_to_forget_and_protected_questions_about_people_to_keep(few):
    records = loader("tofu", few)("tofu", 0, PUBLIC)
    subjects = {name: {record.subject for record in records[name]} for name in records}
    assert subjects["probes"] == subjects["forget"]
    assert subjects["protected"] <= subjects["retain"] if few else subjects["protected"] == subjects["retain"]
    for questions in ("probes", "protected"):
        assert all(record.wrong and record.paraphrased_answer for record in records[questions])


def test_the_smaller_tofu_forgets_a_twentieth_of_what_the_model_learns():
    records = loader("tofu", True)("tofu", 0, PUBLIC)
    assert len(records["forget"]) == 20
    assert len(records["forget"]) / (len(records["forget"]) + len(records["retain"])) == 0.05


def test_passages_come_from_the_folder_of_each_set(tmp_path):
    for name, count in (("forget", 50), ("retain", 3), ("unseen", 90)):
        (tmp_path / name).mkdir()
        sentences = (f"Clause {'x' * number} of the {name} text says this and that. " for number in range(1, count + 1))
        (tmp_path / name / "text").write_text("\n\n".join(sentence * 4 for sentence in sentences))
    records = load_few("pretraining", 0, tmp_path)
    assert {name: len(records[name]) for name in records} == {"forget": 40, "retain": 3, "unseen": 80}
    assert all(name in record.text for name in records for record in records[name])
    before = digests("pretraining", tmp_path)
    (tmp_path / "retain" / "text").write_text("another")
    after = digests("pretraining", tmp_path)
    assert [name for name in before if before[name] != after[name]] == ["retain"]


def test_missing_passages_are_named_with_their_option(tmp_path):
    with pytest.raises(DataMissing, match=r"forget, retain, unseen not found .* --passages"):
        load_few("pretraining", 0, tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataMissing, match=r"lume_pii_forget\.jsonl"):
        load_sets("lume", 0, tmp_path)
