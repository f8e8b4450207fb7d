"""Counterfactuals: which values are swapped, and where the new values come from."""

import random
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from core.demo.people import people
from core.evaluation.text.common_words import CommonWords
from core.evaluation.text.counterfactuals import DonorPool, counterfactuals
from core.evaluation.text.entities import digit_shape, find_entities, letter_shape
from core.evaluation.text.months import LANGUAGES, months_like
from core.evaluation.text.value_synthesis import synthesize_value
from core.schema.record import Record

still = settings(derandomize=True, deadline=None, max_examples=60)
UNSEEN = people(120, 3)
COMMON = CommonWords(UNSEEN)
POOL = DonorPool(UNSEEN, COMMON)
DEMO = re.compile(r"555-01\d\d|[a-z]+\d\d@example\.org|[BCDFGHKM][PQRSTVWZ]-\d{6}")


def skeleton(record: Record) -> list[str]:
    """The text between the entities of a record."""
    texts, ends = record.texts(), [0] * len(record.texts())
    between = []
    for entity in find_entities(record, COMMON):
        between.append(texts[entity.text_number][ends[entity.text_number] : entity.start])
        ends[entity.text_number] = entity.end
    return [*between, *(text[end:] for text, end in zip(texts, ends, strict=True))]


@still
@given(number=st.integers(0, 39), form=st.sampled_from(["text", "prompt", "messages"]), seed=st.integers(0, 9))
def test_only_entities_are_swapped_each_for_one_of_its_form(number: int, form: str, seed: int) -> None:
    record = people(40, 11, form=form)[number]  # type: ignore[arg-type]
    made = counterfactuals(record, 5, seed=seed, pool=POOL)
    assert made == counterfactuals(record, 5, seed=seed, pool=POOL)
    assert len({tuple(copy.texts()) for copy in [record, *made]}) == 6
    originals = find_entities(record, COMMON)
    for twin in made:
        assert skeleton(twin) == skeleton(record)
        swapped = find_entities(twin, COMMON)
        assert [(entity.text_number, entity.form, entity.shape) for entity in swapped] == [
            (entity.text_number, entity.form, entity.shape) for entity in originals
        ]
        values: dict[str, str] = {}
        for original, new in zip(originals, swapped, strict=True):
            assert values.setdefault(original.text, new.text) == new.text


def test_every_value_comes_from_an_unseen_record() -> None:
    texts = " ".join(record.text or "" for record in UNSEEN)
    known = {word for record in UNSEEN for word in re.findall(r"\w[\w@.-]*\w", record.text or "")}
    for record in people(10, 11):
        for twin in counterfactuals(record, 99, seed=0, pool=POOL):
            for value in DEMO.findall(twin.text or ""):
                assert value in texts
            for entity in find_entities(twin, COMMON):
                assert entity.form != "name" or set(entity.text.split()) <= known


def test_a_town_is_swapped_for_a_town_and_a_person_for_a_person() -> None:
    unseen = [Record(text=f"then Za{letter} lives in Ro{letter}, they say") for letter in "abcdefghijkl"]
    made = counterfactuals(Record(text="now Zorvek lives in Vaxstad, a town"), 30, seed=0, pool=DonorPool(unseen))
    assert len(made) == 30
    for twin in made:
        assert re.fullmatch(r"now Za\w lives in Ro\w, a town", twin.text or "")


def test_values_of_one_unseen_record_stay_together_while_there_are_such_records() -> None:
    unseen = [Record(text=f"then Za{letter} lives in Ro{letter}, they say") for letter in "abcdefghijkl"]
    made = counterfactuals(Record(text="then Zorvek lives in Vaxstad, they say"), 20, seed=0, pool=DonorPool(unseen))
    together = [re.fullmatch(r"then Za(\w) lives in Ro\1, they say", twin.text or "") is not None for twin in made]
    assert all(together[:12])
    assert not any(together[12:])
    assert len(made) == 20


def test_neither_the_record_nor_records_about_its_subject_donate_values() -> None:
    own = Record(text="then Zorvek lives in Vaxstad, they say", subject="z")
    same = Record(text="then Zorvek lives in Ulkstad, they say", subject="z")
    other = Record(text="then Mibvor lives in Keb, they say", subject="m")
    pool = DonorPool([own, same, other])
    assert pool.donors(own) == [2]
    assert [twin.text for twin in counterfactuals(own, 1, seed=0, pool=pool)] == [other.text]


def test_a_name_is_swapped_the_same_everywhere_and_in_its_address() -> None:
    text = "it is Jane Doe (JANE), mail jane.doe85@x.org, says Doe"
    for twin in counterfactuals(Record(prompt="who is Jane Doe?", completion=text), 20, seed=1):
        match = re.fullmatch(r"who is (\w+) (\w+)\?", twin.prompt or "")
        assert match is not None
        first, last = match.groups()
        mail = f"{first.lower()}.{last.lower()}85@x.org"
        assert twin.completion == f"it is {first} {last} ({first.upper()}), mail {mail}, says {last}"
        assert (first, last) != ("Jane", "Doe")


def test_counterfactuals_depend_on_seed_and_record_alone() -> None:
    first, second = people(2, 12)
    assert counterfactuals(first, 5, seed=0, pool=POOL) != counterfactuals(first, 5, seed=1, pool=POOL)
    alone = [record.text for record in counterfactuals(second, 5, seed=0, pool=POOL)]
    assert alone == [record.text for record in counterfactuals(second, 5, seed=0, pool=DonorPool(UNSEEN, COMMON))]


def test_a_record_without_entities_has_no_counterfactuals_and_a_record_with_few_has_fewer() -> None:
    assert counterfactuals(Record(text="nothing to see here"), 99, seed=0) == []
    assert counterfactuals(Record(prompt="who is Zorvek?", completion="a baker"), 99, seed=0) == []
    few = counterfactuals(Record(text="they keep 7 hens"), 99, seed=0)
    assert {twin.text for twin in few} == {f"they keep {number} hens" for number in (1, 2, 3, 4, 5, 6, 8, 9)}


def test_values_are_invented_only_on_request_and_only_after_the_pools_values() -> None:
    pool = DonorPool([Record(text=f"then {number} is at home") for number in range(2501, 2507)])
    record = Record(text="now 7341 is at home")
    drawn = counterfactuals(record, 19, seed=0, pool=pool)
    made = counterfactuals(record, 19, seed=0, pool=pool, invent=True)
    assert {twin.text for twin in drawn} == {f"now {number} is at home" for number in range(2501, 2507)}
    assert made[:6] == drawn
    assert len({twin.text for twin in made} | {record.text}) == 20
    assert all(re.fullmatch(r"now [1-9]\d{3} is at home", twin.text or "") for twin in made)


def test_id_subject_and_probes_are_not_carried_over() -> None:
    record = Record(prompt="who is Zorvek?", completion="he is 99", wrong=["he is 98"], id="a", subject="Zorvek")
    twin = counterfactuals(record, 1, seed=0)[0]
    assert (twin.id, twin.subject, twin.wrong) == (None, None, None)


@still
@given(text=st.from_regex(r"\+?[0-9]{1,4}([-., /][0-9]{1,4}){0,3}", fullmatch=True), seed=st.integers(0, 99))
def test_invented_numbers_keep_their_shape(text: str, seed: int) -> None:
    value = synthesize_value(text, "number", random.Random(seed), [])
    assert digit_shape(value) == digit_shape(text)
    assert value != text or "9" not in digit_shape(text)


@still
@given(text=st.from_regex(r"[A-Za-zéöИж]{1,9}", fullmatch=True), seed=st.integers(0, 99))
def test_invented_words_keep_length_capitals_and_script(text: str, seed: int) -> None:
    word = synthesize_value(text, "word", random.Random(seed), [])
    assert letter_shape(word) == letter_shape(text)
    assert [ord(letter) > 1000 for letter in word] == [ord(letter) > 1000 for letter in text]
    assert word != text


@still
@given(day=st.integers(1, 31), month=st.integers(1, 12), year=st.integers(1500, 2099), seed=st.integers(0, 99))
def test_invented_dates_are_valid_and_of_the_same_century(day: int, month: int, year: int, seed: int) -> None:
    twin = counterfactuals(Record(text=f"it was {year}-{month:02}-{day:02} then"), 1, seed=seed)[0].text or ""
    match = re.fullmatch(r"it was (\d{4})-(\d\d)-(\d\d) then", twin)
    assert match is not None
    assert int(match[1]) // 100 == year // 100
    assert 1 <= int(match[2]) <= 12
    assert 1 <= int(match[3]) <= 28


def test_months_are_of_the_same_language_and_style() -> None:
    assert months_like("März")[4] == "Mai"
    assert months_like("APR") == [name.upper() for name in LANGUAGES["en short"]]
    for twin in counterfactuals(Record(text="am 1. August und am 12. März 1975"), 20, seed=0):
        assert {month.casefold() for month in re.findall(r"\. (\w+)", twin.text or "")} <= set(LANGUAGES["de"])


def test_ordinals_have_the_right_ending() -> None:
    ordinals = [synthesize_value("12th", "ordinal", random.Random(n), []) for n in range(300)]
    assert {int(ordinal[:-2]): ordinal[-2:] for ordinal in ordinals} == {
        n: "th" if n < 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th") for n in range(10, 29) if n != 12
    }


def test_the_host_of_a_url_stays_where_a_path_follows() -> None:
    for twin in counterfactuals(Record(text="see https://x.org/u/7842?page=93, please"), 20, seed=0):
        assert re.fullmatch(r"see https://x\.org/[aeiou]/\d{4}\?[a-z]{4}=\d\d, please", twin.text or "")
    for twin in counterfactuals(Record(text="see www.zorvek.co, please"), 20, seed=0):
        assert re.fullmatch(r"see www\.[a-z]{6}\.co, please", twin.text or "")
