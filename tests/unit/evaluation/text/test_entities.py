"""What is found in a text as specific, and what is not."""

import pytest

from core.demo.people import people
from core.evaluation.text.common_words import NOTHING, Background
from core.evaluation.text.entities import digit_shape, letter_shape, specifics, word_shape
from core.schema.record import Message, Record


def found(text: str, background: Background = NOTHING) -> list[tuple[str, str]]:
    return [(one.form, one.text) for one in specifics(Record(text=text), background)]


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
def test_forms(text: str, expected: list[tuple[str, str]]) -> None:
    assert found(text) == expected


def test_a_lone_word_that_begins_a_sentence_is_no_name_unless_something_says_so() -> None:
    assert found("Sometimes he sings. Nobody heard Zorvek.") == [("name", "Zorvek")]
    assert found("Zorvek sings. Nobody heard Zorvek.") == [("name", "Zorvek"), ("name", "Zorvek")]
    of_subject = specifics(Record(text="Zorvek sings.", subject="Zorvek"))
    assert [one.text for one in of_subject] == ["Zorvek"]


def test_other_records_say_which_capitalised_words_are_ordinary() -> None:
    text = "he lives at Oskdle Terrace, a Baker"
    assert ("name", "Oskdle Terrace") in found(text)
    others = [Record(text=f"{'a baker ' * (number == 0)}in Place{chr(97 + number)} Terrace") for number in range(10)]
    assert found(text, Background(others)) == [("name", "Oskdle")]
    # records about the same person make her name no ordinary word
    same = [Record(text=f"Then met Oskdle and the baker {number}") for number in range(30)]
    assert found(text, Background([], same)) == [("name", "Oskdle Terrace")]


def test_a_name_in_all_records_of_one_person_or_of_two_is_no_ordinary_word() -> None:
    def others(subjects: int) -> Background:
        return Background(
            [Record(text=f"then Zorvek sings {number}", subject=str(number % subjects)) for number in range(30)]
        )

    text = "now Zorvek sings."
    assert found(text, others(2)) == [("name", "Zorvek")]
    assert found(text, others(3)) == []
    assert found(text, Background([Record(text=f"then Zorvek sings {number}") for number in range(30)])) == []


def test_many_other_records_that_never_say_a_word_make_it_a_name() -> None:
    many = [Record(text=f"nothing in particular {number}") for number in range(20)]
    assert found("Zorvek sings.", Background(many[:19])) == []
    assert found("Zorvek sings.", Background(many)) == [("name", "Zorvek")]


def test_the_demos_people_are_found_whole() -> None:
    background = Background(people(200, 3))
    for record in people(20, 4):
        forms = [one.form for one in specifics(record, background)]
        assert forms.count("date") == 1
        assert forms.count("identifier") == 1
        assert [one.text for one in specifics(record, background)].count(record.subject) == 1


def test_specifics_are_where_they_are_said_to_be_and_never_overlap() -> None:
    background = Background(people(200, 3))
    for record in people(20, 5, form="messages"):
        assert record.messages is not None
        ends = {0: 0, 1: 0}
        for one in specifics(record, background):
            assert record.messages[one.piece].content[one.start : one.end] == one.text
            assert one.start >= ends[one.piece]
            ends[one.piece] = one.end
            for part in one.atoms:
                assert record.messages[one.piece].content[part.start : part.end] == part.text


def test_what_is_beside_a_specific_tells_a_town_from_a_street() -> None:
    one, two = specifics(Record(text="born in Vaxstad, at 12 Oskdle, phone 555"))[:2]
    assert (one.left, one.right) == ("in", ",")
    assert (two.left, two.right) == ("at", "<name>")
    start = specifics(Record(text="555"))[0]
    assert (start.left, start.right) == ("^", "$")


def test_all_pieces_are_read_and_the_last_is_the_scored_one() -> None:
    turns = [Message(role="user", content="where is Zorvek?"), Message(role="assistant", content="in 1990")]
    assert [one.piece for one in specifics(Record(messages=turns))] == [0, 1]
    assert [one.piece for one in specifics(Record(prompt="where is Zorvek?", completion="in 1990"))] == [0, 1]


def test_shapes() -> None:
    assert digit_shape("0123-10") == "0999-99"
    assert digit_shape("12,500") == "99,900"
    assert digit_shape("7") == "9"
    assert letter_shape("CT-805b") == "AA-999a"
    assert word_shape("McDonald") == "AaAa"
    assert word_shape("USA") == "AA"
