"""Which parts of a text are entities, and which are not."""

import pytest

from core.demo.people import people
from core.evaluation.text.common_words import ENGLISH_ONLY, CommonWords
from core.evaluation.text.entities import digit_shape, find_entities, letter_shape, word_shape
from core.schema.record import Message, Record


def found(text: str, common: CommonWords = ENGLISH_ONLY) -> list[tuple[str, str]]:
    return [(entity.form, entity.text) for entity in find_entities(Record(text=text), common)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the phone is 555-0147.", [("number", "555-0147")]),
        ("call +44 20 7946 0958 or (555) 010-1234", [("number", "+44 20 7946 0958"), ("number", "(555) 010-1234")]),
        ("it cost $12,500.00, paid at once", [("number", "12,500.00")]),
        ("a 40-year-old of 80kg", [("number", "40"), ("number", "80")]),
        ("account CT-805043, plate AB12CD", [("identifier", "CT-805043"), ("identifier", "AB12CD")]),
        ("on 22 April 2003.", [("date", "22 April 2003")]),
        ("on the 3rd of March, 2021", [("date", "3rd of March, 2021")]),
        ("on March 4, 1999 and in May 2004", [("date", "March 4, 1999"), ("date", "May 2004")]),
        ("am 12. März 1975", [("date", "12. März 1975")]),
        ("2001-03-09 or 31/12/99", [("date", "2001-03-09"), ("date", "31/12/99")]),
        ("version 40.50.60", [("number", "40.50.60")]),
        ("mail j.doe+x@mail.example.org.", [("email", "j.doe+x@mail.example.org")]),
        ("see https://x.org/u/jane?id=7, please", [("url", "https://x.org/u/jane?id=7")]),
        ("sold to Ludwig van Beethoven", [("name", "Ludwig van Beethoven")]),
        ("it is Jane Doe-Smith's car", [("name", "Jane Doe-Smith")]),
        ("by J. R. Smith of Ohio", [("name", "J. R. Smith of Ohio")]),
        ("живёт в Москве с 1990 года", [("name", "Москве"), ("number", "1990")]),
        ("رقم ٠١٢٣٤٥ です090-1234", [("number", "٠١٢٣٤٥"), ("number", "090-1234")]),
        ("The address is at Hill Road", []),
        ("nothing to see here", []),
    ],
)
def test_entities_are_found_by_their_form(text: str, expected: list[tuple[str, str]]) -> None:
    assert found(text) == expected


def test_a_single_word_that_begins_a_sentence_is_a_name_only_if_capitalised_elsewhere() -> None:
    assert found("Sometimes he sings. Nobody heard Zorvek.") == [("name", "Zorvek")]
    assert found("Zorvek sings. Nobody heard Zorvek.") == [("name", "Zorvek"), ("name", "Zorvek")]
    of_subject = find_entities(Record(text="Zorvek sings.", subject="Zorvek"))
    assert [entity.text for entity in of_subject] == ["Zorvek"]


def test_other_records_tell_which_capitalised_words_are_common() -> None:
    text = "he lives at Oskdle Terrace, a Baker"
    assert ("name", "Oskdle Terrace") in found(text)
    others = [Record(text=f"{'a baker ' * (number == 0)}in Place{chr(97 + number)} Terrace") for number in range(10)]
    assert found(text, CommonWords(others)) == [("name", "Oskdle")]
    # records about the same person do not make her name a common word
    same = [Record(text=f"Then met Oskdle and the baker {number}") for number in range(30)]
    assert found(text, CommonWords([], same)) == [("name", "Oskdle Terrace")]


def test_a_name_in_all_records_of_one_person_or_of_two_is_no_common_word() -> None:
    def others(subjects: int) -> CommonWords:
        return CommonWords(
            [Record(text=f"then Zorvek sings {number}", subject=str(number % subjects)) for number in range(30)]
        )

    text = "now Zorvek sings."
    assert found(text, others(2)) == [("name", "Zorvek")]
    assert found(text, others(3)) == []
    assert found(text, CommonWords([Record(text=f"then Zorvek sings {number}") for number in range(30)])) == []


def test_a_word_that_many_other_records_lack_is_a_name() -> None:
    many = [Record(text=f"nothing in particular {number}") for number in range(20)]
    assert found("Zorvek sings.", CommonWords(many[:19])) == []
    assert found("Zorvek sings.", CommonWords(many)) == [("name", "Zorvek")]


def test_the_demos_people_are_found_whole() -> None:
    common = CommonWords(people(200, 3))
    for record in people(20, 4):
        forms = [entity.form for entity in find_entities(record, common)]
        assert forms.count("date") == 1
        assert forms.count("identifier") == 1
        assert [entity.text for entity in find_entities(record, common)].count(record.subject) == 1


def test_entities_and_their_parts_are_at_their_positions_and_never_overlap() -> None:
    common = CommonWords(people(200, 3))
    for record in people(20, 5, form="messages"):
        assert record.messages is not None
        ends = {0: 0, 1: 0}
        for entity in find_entities(record, common):
            content = record.messages[entity.text_number].content
            assert content[entity.start : entity.end] == entity.text
            assert entity.start >= ends[entity.text_number]
            ends[entity.text_number] = entity.end
            for part in entity.parts:
                assert content[part.start : part.end] == part.text


def test_the_neighbours_of_an_entity_tell_a_town_from_a_street() -> None:
    town, street = find_entities(Record(text="born in Vaxstad, at 12 Oskdle, phone 555"))[:2]
    assert (town.left, town.right) == ("in", ",")
    assert (street.left, street.right) == ("at", "<name>")
    start = find_entities(Record(text="555"))[0]
    assert (start.left, start.right) == ("^", "$")


def test_all_texts_of_a_record_are_read_and_numbered() -> None:
    turns = [Message(role="user", content="where is Zorvek?"), Message(role="assistant", content="in 1990")]
    for record in (Record(messages=turns), Record(prompt="where is Zorvek?", completion="in 1990")):
        assert [entity.text_number for entity in find_entities(record)] == [0, 1]


def test_shapes_of_numbers_and_words() -> None:
    assert digit_shape("0123-10") == "0999-99"
    assert digit_shape("12,500") == "99,900"
    assert digit_shape("7") == "9"
    assert letter_shape("CT-805b") == "AA-999a"
    assert word_shape("McDonald") == "AaAa"
    assert word_shape("USA") == "AA"
