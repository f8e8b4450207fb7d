"""Twins of a record: the same with every specific swapped for another of its form.

For a model that never saw the record, the true one should be just another draw. So the values that are swapped in come
from unseen records, as many from the same one as fit; those that stand beside the same words come first, a town for a
town. What a model was trained on is never taken: it knows those values too.
"""

import random
from collections.abc import Sequence

from core.evaluation.text.common_words import NOTHING, Background
from core.evaluation.text.entities import Kind, Specific, languages_of, specifics
from core.evaluation.text.value_synthesis import address, cased_like, invented, with_known
from core.schema.record import Record

Place = tuple[str, ...]
"""A form and shape, and what is beside it: the more, the likelier that it says the same."""

ENOUGH = 8
"""Different values that stand at a place, of all records, before values of wider places are no longer looked for."""
_ATTEMPTS = 10
"""So many attempts for each twin: a record with few specifics may have fewer twins than are asked for."""


class Pool:
    """Unseen records, by what their specifics could stand for."""

    def __init__(self, records: Sequence[Record] = (), background: Background = NOTHING) -> None:
        self.records = list(records)
        self.background = background
        self._of: list[dict[Place, list[Specific]]] = []
        self._values: dict[Place, list[tuple[int, Specific]]] = {}
        for number, record in enumerate(self.records):
            places: dict[Place, list[Specific]] = {}
            for one in specifics(record, background):
                for place in _places(one):
                    places.setdefault(place, []).append(one)
                    self._values.setdefault(place, []).append((number, one))
            self._of.append(places)

    def others(self, record: Record) -> list[int]:
        """Numbers of the records that are neither this one nor about the same subject."""
        own = record.texts()
        return [
            number
            for number, one in enumerate(self.records)
            if one.texts() != own and (record.subject is None or one.subject != record.subject)
        ]

    def donated(
        self, one: Specific, donor: int | None, among: frozenset[int], generator: random.Random
    ) -> Specific | None:
        """A specific that can stand for this one: the donor's own, where it has one at the same place; else any."""
        places = _places(one)
        if donor is not None:
            for place in places[:-1]:
                if found := self._of[donor].get(place):
                    return found[0]
        best: list[Specific] = []
        for place in places:
            found = [value for number, value in self._values.get(place, ()) if number in among]
            if len({value.text for value in found}) >= ENOUGH:
                return generator.choice(found)
            best = best or found
        return generator.choice(best) if best else None


def twins(
    record: Record,
    count: int,
    *,
    seed: int,
    pool: Pool | None = None,
    background: Background | None = None,
    invent: bool = False,
) -> list[Record]:
    """At most `count` different twins, none like the record; fewer where its specifics do not vary more. None where
    nothing that is scored is specific. With `invent`, as many as the pool's values are too few for have invented ones.

    A function of the record, the seed, the pool and the background (default: the pool's). A value that stands in
    several places is swapped for the same one in all, also in lower case within an address; what the prompt says of
    it too. `id`, `subject` and the texts of probes are left out.
    """
    pool = pool or Pool()
    background = background or pool.background
    texts = record.texts()
    found = specifics(record, background)
    if not any(one.piece == len(texts) - 1 for one in found):
        return []
    name = record.digest().hex()
    others = pool.others(record)
    order, among = random.Random(f"{seed}/{name}").sample(others, len(others)), frozenset(others)
    seen = {tuple(texts)}
    made: list[Record] = []
    drawn = len(order) + _ATTEMPTS * count
    for attempt in range(drawn + _ATTEMPTS * count if invent else drawn):
        if len(made) == count:
            break
        generator = random.Random(f"{seed}/{name}/{attempt}")
        donor = order[attempt] if attempt < len(order) else None
        swapped = _swapped(
            texts, found, _Drawing(pool if attempt < drawn else Pool(), donor, among, generator, background)
        )
        if tuple(swapped) not in seen:
            seen.add(tuple(swapped))
            made.append(record.with_texts(swapped))
    return made


class _Drawing:
    """What each value of one twin is swapped for: chosen once, at the first place where it stands."""

    def __init__(
        self, pool: Pool, donor: int | None, among: frozenset[int], generator: random.Random, background: Background
    ) -> None:
        self._pool, self._donor, self._among = pool, donor, among
        self._generator, self._background = generator, background
        self._chosen: dict[tuple[Kind, str], str] = {}

    def choose(self, one: Specific, languages: Sequence[str]) -> None:
        """Decides on the values of a specific that are not decided on yet."""
        keys = [(part.kind, part.text.casefold()) for part in one.atoms]
        if all(key in self._chosen for key in keys):
            return
        if one.form in ("email", "url"):
            self._chosen[keys[0]] = self._address(one)
            return
        given = self._pool.donated(one, self._donor, self._among, self._generator)
        for number, (key, part) in enumerate(zip(keys, one.atoms, strict=True)):
            if key not in self._chosen:
                taken = given.atoms[number].text if given else None
                self._chosen[key] = taken or invented(part.text, part.kind, self._generator, languages)

    def value(self, kind: Kind, text: str) -> str:
        found = self._chosen[kind, text.casefold()]
        return cased_like(found, text) if kind == "word" else found

    def _address(self, one: Specific) -> str:
        known = {text: value for (kind, text), value in self._chosen.items() if kind in ("word", "year", "number")}
        if with_known(one.text, known) == one.text:
            given = self._pool.donated(one, self._donor, self._among, self._generator)
            if given is not None:
                return given.text
        return address(one.text, self._generator, known, self._background.ordinary)


def _swapped(texts: Sequence[str], found: Sequence[Specific], drawing: _Drawing) -> list[str]:
    languages = [languages_of(text) for text in texts]
    # Addresses last, since they may be made of the others; whole names before parts of them.
    for one in sorted(found, key=lambda one: (one.form in ("email", "url"), -len(one.atoms))):
        drawing.choose(one, languages[one.piece])
    swapped = []
    for number, text in enumerate(texts):
        parts, place = [], 0
        for one in (one for one in found if one.piece == number):
            for part in one.atoms:
                parts += [text[place : part.start], drawing.value(part.kind, part.text)]
                place = part.end
        swapped.append("".join([*parts, text[place:]]))
    return swapped


def _places(one: Specific) -> list[Place]:
    """From what is closest to it to its form alone."""
    form = (one.form, one.shape)
    return [(*form, "both", one.left, one.right), (*form, "left", one.left), (*form, "right", one.right), form]
