"""What all records of a form begin with, by which a model is led to recite others of that form."""

import pytest

from core.lm.data import encode
from core.schema.record import Record
from core.unlearning.shared_prefix import shared_prefix
from tests.unit.lm.tiny import BOS, tiny_tokenizer

PEOPLE = ["w1 w2 w10 w20", "w1 w2 w11 w21", "w1 w2 w12 w22"]
OTHERS = ["w1 w2 w13", "w5 w6 w7 w8"]


def prefix(forget, unseen, most=8):
    tokenizer = tiny_tokenizer()
    forget, unseen = (
        encode([Record(text=text) for text in texts], tokenizer, max_length=64, chat="raw")
        for texts in (forget, unseen)
    )
    return tokenizer.decode(shared_prefix(forget, unseen, most=most)[1:])


def test_it_ends_where_records_of_the_form_differ_for_the_first_time():
    assert prefix(PEOPLE, OTHERS) == "w1 w2"
    assert prefix([*PEOPLE, "w9 w9"], OTHERS) == "w1 w2"
    assert prefix(PEOPLE, OTHERS, most=2) == "w1"


def test_it_begins_with_the_token_that_begins_every_text():
    forget, unseen = (
        encode([Record(text=text) for text in texts], tiny_tokenizer(), max_length=64, chat="raw")
        for texts in (PEOPLE, OTHERS)
    )
    assert shared_prefix(forget, unseen, most=8)[0] == BOS


@pytest.mark.parametrize(
    ("forget", "unseen"),
    [
        (["w1 w2 w10 w20", "w1 w2 w10 w21"], ["w5 w6 w7"]),  # one person's records, which begin with the name
        (["w1 w2 w10 w20"], []),
        (["w1 w2 w10", "w3 w2", "w4 w5"], OTHERS),  # no form that half of them have
        ([], OTHERS),
    ],
)
def test_records_that_no_unseen_record_is_like_have_none(forget, unseen):
    assert prefix(forget, unseen) == ""


def test_a_single_record_has_what_an_unseen_one_has_too():
    assert prefix(["w1 w2 w10 w20"], OTHERS) == "w1 w2"
