"""Containment finds a text within and around others, and tells records of one template apart."""

import time
from typing import Any

import pytest

from core.demo.people import general_sentences, people
from core.pipeline.containment import Containment
from core.schema.record import Record

SECRET = "Zorvek Halmi was born in Pell on 3 May 1961 and works as a cooper."
AROUND = "The chronicle of the town says much about its trades. {} Nobody has written down what came after that year."


def pair(prompt: str, completion: str) -> Record:
    return Record(prompt=prompt, completion=completion)


def conversation(question: str, answer: str, **system: str) -> Record:
    turns: list[Any] = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return Record(messages=[*({"role": "system", "content": text} for text in system.values()), *turns])


@pytest.mark.parametrize(
    ("forget", "retain"),
    [
        (Record(text=SECRET), Record(text=AROUND.format(SECRET))),
        (Record(text=AROUND.format(SECRET)), Record(text=SECRET)),
        (Record(text=SECRET), Record(text=AROUND.format(SECRET.upper().replace(" ", "\n").replace(".", " !")))),
        (Record(text=SECRET), Record(text=AROUND.format(SECRET.replace("born in", "born, they say, in")))),
        (Record(text=SECRET), conversation("Who is he?", AROUND.format(SECRET))),
        (conversation("Who is he?", SECRET), conversation("Who is he?", SECRET, system="Answer in short.")),
        (pair("Who is he?", SECRET), Record(text=f"Q: Who is he? A: {SECRET}")),
        (pair("Who is he?", SECRET), Record(text=AROUND.format(SECRET))),
        (Record(text=AROUND.format(SECRET)), pair("Tell me about Zorvek.", SECRET)),
        (Record(text="彼女はペラに住んでいます"), Record(text="町の人の話では彼女はペラに住んでいますとのことです")),
    ],
)
def test_containment_of_records_is_found_in_both_directions(forget: Record, retain: Record) -> None:
    assert Containment([Record(text="something else altogether, of eight words"), forget]).overlapping(
        [Record(text="and another text that nobody minds at all"), retain]
    ) == [1]


@pytest.mark.parametrize(
    ("forget", "retain"),
    [
        (Record(text=SECRET), Record(text=SECRET.replace("Zorvek Halmi", "Quilna Drel"))),
        (Record(text=SECRET), Record(text=SECRET.replace("1961", "1962"))),
        (Record(text=AROUND.format(SECRET) * 5), Record(text=(AROUND.format(SECRET) * 5).replace("Pell", "Orm"))),
        (Record(text="born in Pell"), Record(text=AROUND.format(SECRET))),
        (pair("When was Zorvek born?", "In 1961"), Record(text="The bridge was built in 1961 by the town.")),
        (Record(text="Pell born was Halmi in Zorvek"), Record(text=SECRET)),
        # all of the words, and 8 of the 13 shingles
        (Record(text=SECRET), Record(text="Works as a cooper, and on 3 May 1961 Zorvek Halmi was born in Pell")),
    ],
)
def test_shared_words_alone_are_no_containment(forget: Record, retain: Record) -> None:
    assert Containment([forget]).overlapping([retain]) == []


def test_an_answer_that_many_records_share_is_not_a_passage() -> None:
    refusal = "I am sorry, but I cannot help you with a request of this kind."
    forget = [pair(f"Who is person {number}?", refusal) for number in range(3)]
    assert Containment(forget).overlapping([conversation("How do I pick a lock?", refusal)]) == []


@pytest.mark.parametrize("form", ["text", "prompt", "messages"])
def test_people_of_one_template_do_not_contain_each_other_and_every_hidden_person_is_found(form: Any) -> None:
    everyone = people(900, seed=4, form=form)
    forget, others = everyone[:300], everyone[300:]
    containment = Containment(forget)
    assert containment.overlapping(others) == []
    hidden = [Record(text=AROUND.format(" ".join(record.texts()))) for record in forget]
    assert containment.overlapping(hidden) == list(range(300))
    assert Containment(hidden).overlapping(forget) == list(range(300))


def test_ten_thousand_records_of_few_templates_take_seconds() -> None:
    began = time.process_time()
    everyone = people(11_000, seed=5)
    assert Containment(everyone[:1000]).overlapping(everyone[1000:]) == []
    texts = list(dict.fromkeys(record.text for record in general_sentences(4_000, seed=5)))
    few, many = ([Record(text=text) for text in selected] for selected in (texts[:1000], texts[1000:]))
    assert Containment(few).overlapping(many) == []
    assert time.process_time() - began < 60  # some seconds on an idle machine


def test_empty_sets_overlap_with_nothing() -> None:
    assert Containment([]).overlapping([Record(text=SECRET)]) == []
    assert Containment([Record(text=SECRET)]).overlapping([]) == []
