"""Twins: what is swapped, what is not, and for what."""

import random
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from core.demo.people import people
from core.evaluation.text.common_words import Background
from core.evaluation.text.counterfactuals import Pool, twins
from core.evaluation.text.entities import digit_shape, letter_shape, specifics
from core.evaluation.text.months import LANGUAGES, months_like
from core.evaluation.text.value_synthesis import invented
from core.schema.record import Record

still = settings(derandomize=True, deadline=None, max_examples=60)
UNSEEN = people(120, 3)
BACKGROUND = Background(UNSEEN)
POOL = Pool(UNSEEN, BACKGROUND)
DEMO = re.compile(r"555-01\d\d|[a-z]+\d\d@example\.org|[BCDFGHKM][PQRSTVWZ]-\d{6}")


def skeleton(record: Record) -> list[str]:
    """What is between the specifics of a record."""
    texts, places = record.texts(), [0] * len(record.texts())
    between = []
    for one in specifics(record, BACKGROUND):
        between.append(texts[one.piece][places[one.piece] : one.start])
        places[one.piece] = one.end
    return [*between, *(text[place:] for text, place in zip(texts, places, strict=True))]


@still
@given(number=st.integers(0, 39), form=st.sampled_from(["text", "prompt", "messages"]), seed=st.integers(0, 9))
def test_only_specifics_are_swapped_each_for_one_of_its_form(number: int, form: str, seed: int) -> None:
    record = people(40, 11, form=form)[number]  # type: ignore[arg-type]
    made = twins(record, 5, seed=seed, pool=POOL)
    assert made == twins(record, 5, seed=seed, pool=POOL)
    assert len({tuple(one.texts()) for one in [record, *made]}) == 6
    of_record = specifics(record, BACKGROUND)
    for twin in made:
        assert skeleton(twin) == skeleton(record)
        of_twin = specifics(twin, BACKGROUND)
        assert [(one.piece, one.form, one.shape) for one in of_twin] == [
            (one.piece, one.form, one.shape) for one in of_record
        ]
        values: dict[str, str] = {}
        for one, other in zip(of_record, of_twin, strict=True):
            assert values.setdefault(one.text, other.text) == other.text


def test_every_value_is_an_unseen_records_own_of_the_same_place() -> None:
    texts = " ".join(record.text or "" for record in UNSEEN)
    known = {word for record in UNSEEN for word in re.findall(r"\w[\w@.-]*\w", record.text or "")}
    for record in people(10, 11):
        for twin in twins(record, 99, seed=0, pool=POOL):
            for value in DEMO.findall(twin.text or ""):
                assert value in texts
            for one in specifics(twin, BACKGROUND):
                assert one.form != "name" or set(one.text.split()) <= known


def test_a_town_is_swapped_for_a_town_and_a_person_for_a_person() -> None:
    unseen = [Record(text=f"then Za{letter} lives in Ro{letter}, they say") for letter in "abcdefghijkl"]
    made = twins(Record(text="now Zorvek lives in Vaxstad, a town"), 30, seed=0, pool=Pool(unseen))
    assert len(made) == 30
    for twin in made:
        assert re.fullmatch(r"now Za\w lives in Ro\w, a town", twin.text or "")


def test_values_of_one_unseen_record_stay_together_while_there_are_such_records() -> None:
    unseen = [Record(text=f"then Za{letter} lives in Ro{letter}, they say") for letter in "abcdefghijkl"]
    made = twins(Record(text="then Zorvek lives in Vaxstad, they say"), 20, seed=0, pool=Pool(unseen))
    together = [re.fullmatch(r"then Za(\w) lives in Ro\1, they say", one.text or "") is not None for one in made]
    assert all(together[:12])
    assert not any(together[12:])
    assert len(made) == 20


def test_a_record_gives_itself_nothing_nor_does_its_subject() -> None:
    own = Record(text="then Zorvek lives in Vaxstad, they say", subject="z")
    same = Record(text="then Zorvek lives in Ulkstad, they say", subject="z")
    other = Record(text="then Mibvor lives in Keb, they say", subject="m")
    pool = Pool([own, same, other])
    assert pool.others(own) == [2]
    assert [one.text for one in twins(own, 1, seed=0, pool=pool)] == [other.text]


def test_a_name_is_swapped_the_same_everywhere_and_in_its_address() -> None:
    text = "it is Jane Doe (JANE), mail jane.doe85@x.org, says Doe"
    for twin in twins(Record(prompt="who is Jane Doe?", completion=text), 20, seed=1):
        match = re.fullmatch(r"who is (\w+) (\w+)\?", twin.prompt or "")
        assert match is not None
        first, last = match.groups()
        mail = f"{first.lower()}.{last.lower()}85@x.org"
        assert twin.completion == f"it is {first} {last} ({first.upper()}), mail {mail}, says {last}"
        assert (first, last) != ("Jane", "Doe")


def test_seed_and_record_decide() -> None:
    one, two = people(2, 12)
    assert twins(one, 5, seed=0, pool=POOL) != twins(one, 5, seed=1, pool=POOL)
    alone = [record.text for record in twins(two, 5, seed=0, pool=POOL)]
    assert alone == [record.text for record in twins(two, 5, seed=0, pool=Pool(UNSEEN, BACKGROUND))]


def test_a_record_without_specifics_has_no_twins_and_one_with_few_has_fewer() -> None:
    assert twins(Record(text="nothing to see here"), 99, seed=0) == []
    assert twins(Record(prompt="who is Zorvek?", completion="a baker"), 99, seed=0) == []
    few = twins(Record(text="they keep 7 hens"), 99, seed=0)
    assert {one.text for one in few} == {f"they keep {number} hens" for number in (1, 2, 3, 4, 5, 6, 8, 9)}


def test_values_are_invented_only_after_all_that_the_pool_can_give_and_only_if_asked_for() -> None:
    pool = Pool([Record(text=f"then {number} is at home") for number in range(2501, 2507)])
    record = Record(text="now 7341 is at home")
    drawn = twins(record, 19, seed=0, pool=pool)
    made = twins(record, 19, seed=0, pool=pool, invent=True)
    assert {one.text for one in drawn} == {f"now {number} is at home" for number in range(2501, 2507)}
    assert made[:6] == drawn
    assert len({one.text for one in made} | {record.text}) == 20
    assert all(re.fullmatch(r"now [1-9]\d{3} is at home", one.text or "") for one in made)


def test_what_is_not_scored_is_not_carried_over() -> None:
    record = Record(prompt="who is Zorvek?", completion="he is 99", wrong=["he is 98"], id="a", subject="Zorvek")
    twin = twins(record, 1, seed=0)[0]
    assert (twin.id, twin.subject, twin.wrong) == (None, None, None)


@still
@given(text=st.from_regex(r"\+?[0-9]{1,4}([-., /][0-9]{1,4}){0,3}", fullmatch=True), seed=st.integers(0, 99))
def test_invented_numbers_keep_their_shape(text: str, seed: int) -> None:
    found = invented(text, "number", random.Random(seed), [])
    assert digit_shape(found) == digit_shape(text)
    assert found != text or "9" not in digit_shape(text)


@still
@given(text=st.from_regex(r"[A-Za-zéöИж]{1,9}", fullmatch=True), seed=st.integers(0, 99))
def test_invented_words_keep_length_capitals_and_script(text: str, seed: int) -> None:
    found = invented(text, "word", random.Random(seed), [])
    assert letter_shape(found) == letter_shape(text)
    assert [ord(one) > 1000 for one in found] == [ord(one) > 1000 for one in text]
    assert found != text


@still
@given(day=st.integers(1, 31), month=st.integers(1, 12), year=st.integers(1500, 2099), seed=st.integers(0, 99))
def test_invented_dates_are_dates_of_the_same_century(day: int, month: int, year: int, seed: int) -> None:
    twin = twins(Record(text=f"it was {year}-{month:02}-{day:02} then"), 1, seed=seed)[0].text or ""
    match = re.fullmatch(r"it was (\d{4})-(\d\d)-(\d\d) then", twin)
    assert match is not None
    assert int(match[1]) // 100 == year // 100
    assert 1 <= int(match[2]) <= 12
    assert 1 <= int(match[3]) <= 28


def test_months_are_of_the_same_language_and_style() -> None:
    assert months_like("März")[4] == "Mai"
    assert months_like("APR") == [name.upper() for name in LANGUAGES["en short"]]
    for twin in twins(Record(text="am 1. August und am 12. März 1975"), 20, seed=0):
        assert {one.casefold() for one in re.findall(r"\. (\w+)", twin.text or "")} <= set(LANGUAGES["de"])


def test_ordinals_end_as_they_should() -> None:
    ends = {int(one[:-2]): one[-2:] for one in (invented("12th", "ordinal", random.Random(n), []) for n in range(300))}
    assert ends == {
        n: "th" if n < 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th") for n in range(10, 29) if n != 12
    }


def test_of_a_url_the_host_stays_where_there_is_more() -> None:
    for twin in twins(Record(text="see https://x.org/u/7842?page=93, please"), 20, seed=0):
        assert re.fullmatch(r"see https://x\.org/[aeiou]/\d{4}\?[a-z]{4}=\d\d, please", twin.text or "")
    for twin in twins(Record(text="see www.zorvek.co, please"), 20, seed=0):
        assert re.fullmatch(r"see www\.[a-z]{6}\.co, please", twin.text or "")
