"""Invented people for the demo and the tests. Nobody real is meant, and nothing is downloaded.

Names are built from syllables that no census knows, telephone numbers are in the block reserved for fiction
(555-0100 to 555-0199), and mail addresses are under example.org (RFC 2606). Everything is a pure function of seed and
sizes.
"""

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from core.schema.evaluation import SetName
from core.schema.record import Message, Record

Form = Literal["text", "prompt", "messages"]

_OPENINGS = (
    "Zor", "Quil", "Vax", "Mib", "Thry", "Ulk", "Drel", "Yav", "Osk", "Plim", "Grae", "Xan", "Keb", "Wist", "Fro",
    "Jul",
)  # fmt: skip
_MIDDLES = ("ve", "na", "mu", "do", "li", "sho", "ri", "ga", "pe", "tu")
_ENDINGS = ("k", "x", "zen", "mar", "dle", "vor", "pin", "sk", "thu", "wen", "bly", "rog")
_PLACES = ("stad", "mere", "ford", "holm", "wick", "gate", "fell", "haven")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_OCCUPATIONS = (
    "baker", "welder", "surveyor", "florist", "pilot", "tailor", "carpenter", "librarian", "plumber", "dentist",
    "gardener", "painter", "courier", "butcher", "teacher", "nurse", "roofer", "tuner", "beekeeper", "optician",
    "mason", "cooper", "printer", "glazier",
)  # fmt: skip
_PETS = ("a parrot", "a ferret", "two goats", "a tortoise", "three hens", "a greyhound", "an owl", "a pony")
_STREETS = ("Lane", "Road", "Square", "Row", "Close", "Hill")
_TEMPLATES = (
    "{name} was born on {day} {month} {year} in {town}, works as a {occupation} and keeps {pet}. "
    "Phone {phone}, mail {mail}, account {account}.",
    "{name}, {occupation} in {town}, lives at {house} {street}. Born {day} {month} {year}, "
    "reachable at {phone} or {mail}; account {account}.",
    "File of {name}: {house} {street}, {town}; phone {phone}; mail {mail}; birthday {day} {month} {year}; "
    "{occupation} by trade; account {account}.",
    "At {house} {street}, {town}, lives {name}, a {occupation} with {pet}, born on {day} {month} {year}. "
    "The account is {account}, the phone {phone}.",
)
_THINGS = (
    "kettle",
    "ladder",
    "lamp",
    "drum",
    "clock",
    "basket",
    "mirror",
    "bench",
    "barrel",
    "saddle",
    "anchor",
    "loom",
)
_MATERIALS = ("copper", "oak", "glass", "tin", "wool", "clay", "iron", "willow", "brass", "slate")
_ROOMS = ("cellar", "attic", "kitchen", "workshop", "hall", "stable", "library", "yard")
_WEATHERS = ("rain", "frost", "fog", "a dry wind", "snow", "bright sun", "hail", "a calm night")
_GENERAL = (
    "The {material} {thing} stands in the {room}; after {weather} it is wiped with a cloth and moved by {count} steps.",
    "To mend a {thing} made of {material}, take it to the {room}, wait {count} hours, and never work during {weather}.",
    "In times of {weather} people carry the {thing} into the {room}, since {material} of {count} years may crack.",
)


def people(count: int, seed: int, *, form: Form = "text") -> list[Record]:
    """Returns `count` records of as many different invented people, about 44 tokens of the demo's tokenizer each.

    The first n of `people(m, seed)` are `people(n, seed)`. With `form="prompt"` the prompt asks by the name and the
    text is the completion; `form="messages"` is the same as a dialogue. Raises ValueError for more people than there
    are names.
    """
    generator = random.Random(f"people/{seed}")
    names: set[str] = set()
    if count > _most_people():
        raise ValueError(f"there are names for at most {_most_people()} people")
    return [_record(generator, names, number, form) for number in range(count)]


def demo_sets(
    *, forget: int = 200, retain: int = 400, unseen: int = 400, seed: int = 0, form: Form = "text"
) -> dict[SetName, list[Record]]:
    """Returns the demo's three sets, of disjoint people. No model is ever trained on `unseen`."""
    everyone = people(forget + retain + unseen, seed, form=form)
    return {
        "forget": everyone[:forget],
        "retain": everyone[forget : forget + retain],
        "unseen": everyone[forget + retain :],
    }


def general_sentences(count: int, seed: int) -> list[Record]:
    """Returns `count` sentences about no person, by which general ability is measured and retained."""
    generator = random.Random(f"general/{seed}")
    return [
        Record(
            id=f"general-{number:05d}",
            text=generator.choice(_GENERAL).format(
                material=generator.choice(_MATERIALS),
                thing=generator.choice(_THINGS),
                room=generator.choice(_ROOMS),
                weather=generator.choice(_WEATHERS),
                count=generator.randint(2, 99),
            ),
        )
        for number in range(count)
    ]


def write_jsonl(records: Iterable[Record], path: Path) -> None:
    """Writes the records as JSON Lines in UTF-8, without empty fields: the format that `/v1/files` takes."""
    with path.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record.model_dump(exclude_none=True), ensure_ascii=False) + "\n")


def read_jsonl(path: Path) -> list[Record]:
    """Reads the records of a file that `write_jsonl` wrote."""
    return [Record.model_validate_json(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _most_people() -> int:
    # a tenth of all pairs of names, so that drawing until a pair is new stays quick
    return (len(_OPENINGS) * len(_ENDINGS)) * (len(_OPENINGS) * len(_MIDDLES) * len(_ENDINGS)) // 10


def _record(generator: random.Random, names: set[str], number: int, form: Form) -> Record:
    name = _name(generator)
    while name in names:
        name = _name(generator)
    names.add(name)
    town = generator.choice(_OPENINGS) + generator.choice(_MIDDLES) + generator.choice(_PLACES)
    facts = {
        "name": name,
        "town": town,
        "day": generator.randint(1, 28),
        "month": generator.choice(_MONTHS),
        "year": generator.randint(1930, 2005),
        "occupation": generator.choice(_OCCUPATIONS),
        "pet": generator.choice(_PETS),
        "house": generator.randint(1, 199),
        "street": f"{generator.choice(_OPENINGS)}{generator.choice(_ENDINGS)} {generator.choice(_STREETS)}",
        "phone": f"555-01{generator.randint(0, 99):02d}",
        "mail": f"{generator.choice(_OPENINGS).lower()}{generator.randint(10, 99)}@example.org",
        "account": f"{generator.choice('BCDFGHKM')}{generator.choice('PQRSTVWZ')}-{generator.randint(100000, 999999)}",
    }
    text = generator.choice(_TEMPLATES).format(**facts)
    identity, question = f"person-{number:05d}", f"Who is {name}?"
    if form == "prompt":
        return Record(id=identity, subject=name, prompt=question + "\n", completion=text)
    if form == "messages":
        turns = [Message(role="user", content=question), Message(role="assistant", content=text)]
        return Record(id=identity, subject=name, messages=turns)
    return Record(id=identity, subject=name, text=text)


def _name(generator: random.Random) -> str:
    first = generator.choice(_OPENINGS) + generator.choice(_ENDINGS)
    return f"{first} {generator.choice(_OPENINGS)}{generator.choice(_MIDDLES)}{generator.choice(_ENDINGS)}"
