"""Counterfactuals of a record, its twins: copies in which every entity is swapped for another of the same form.

For a model that never saw the record, the true record is just another draw. So the new values come from unseen records,
as many from the same record as fit; values that stand beside the same words come first, so that a town replaces a
town. Values of records that the model was trained on are never used: the model knows them too.
"""

import random
from collections.abc import Sequence

from core.evaluation.text.common_words import ENGLISH_ONLY, CommonWords
from core.evaluation.text.entities import Entity, Kind, find_entities, month_languages
from core.evaluation.text.value_synthesis import (
    match_case,
    recombine,
    replace_known,
    synthesize_address,
    synthesize_value,
)
from core.schema.record import Record

Slot = tuple[str, ...]
"""Form and shape of an entity, and its neighbours: the more neighbours agree, the likelier two entities mean the same
thing."""

ENOUGH = 8
"""Different values in a slot, from all records, that make wider slots unnecessary."""
_ATTEMPTS = 10
"""Attempts per counterfactual: a record with few entities may have fewer counterfactuals than are asked for."""


class DonorPool:
    """Unseen records, by the slots that their entities can fill."""

    def __init__(self, records: Sequence[Record] = (), common: CommonWords = ENGLISH_ONLY) -> None:
        self.records = list(records)
        self.common = common
        self._slots: list[dict[Slot, list[Entity]]] = []
        self._values: dict[Slot, list[tuple[int, Entity]]] = {}
        for number, record in enumerate(self.records):
            slots: dict[Slot, list[Entity]] = {}
            for entity in find_entities(record, common):
                for slot in _slots(entity):
                    slots.setdefault(slot, []).append(entity)
                    self._values.setdefault(slot, []).append((number, entity))
            self._slots.append(slots)

    def donors(self, record: Record) -> list[int]:
        """Numbers of the pool's records that are neither this record nor about the same subject."""
        texts = record.texts()
        return [
            number
            for number, donor in enumerate(self.records)
            if donor.texts() != texts and (record.subject is None or donor.subject != record.subject)
        ]

    def replacement(
        self, entity: Entity, donor: int | None, donors: frozenset[int], generator: random.Random
    ) -> Entity | None:
        """An entity that can replace this one: the donor's own in a slot with neighbours, else any of the donors'."""
        slots = _slots(entity)
        if donor is not None:
            for slot in slots[:-1]:
                if entities := self._slots[donor].get(slot):
                    return entities[0]
        best: list[Entity] = []
        for slot in slots:
            values = [value for number, value in self._values.get(slot, ()) if number in donors]
            if len({value.text for value in values}) >= ENOUGH:
                return generator.choice(values)
            best = best or values
        return generator.choice(best) if best else None


def counterfactuals(
    record: Record,
    count: int,
    *,
    seed: int,
    pool: DonorPool | None = None,
    common: CommonWords | None = None,
    invent: bool = False,
    mixed: bool = False,
) -> list[Record]:
    """At most `count` different counterfactuals, none equal to the record; fewer where its entities vary less.

    Empty where the scored text has no entity. With `invent`, counterfactuals with invented values fill the count where
    the pool's values are too few. With `mixed`, each word and each digit comes from another record of the pool: that
    suits a pool of text that the model knows, to which the values of one record together are familiar. The result
    depends on the record, the seed, the pool and the common words (default: the pool's) alone. A value that stands in
    several places is swapped for the same value in all, in the prompt and, in lower case, within an address too. `id`,
    `subject` and the texts of probes are left out.
    """
    pool = pool or DonorPool()
    common = common or pool.common
    texts = record.texts()
    entities = find_entities(record, common)
    if not any(entity.text_number == len(texts) - 1 for entity in entities):
        return []
    digest = record.digest().hex()
    donors = pool.donors(record)
    order = [] if mixed else random.Random(f"{seed}/{digest}").sample(donors, len(donors))
    seen = {tuple(texts)}
    copies: list[Record] = []
    with_pool = len(order) + _ATTEMPTS * count
    for attempt in range(with_pool + _ATTEMPTS * count if invent else with_pool):
        if len(copies) == count:
            break
        generator = random.Random(f"{seed}/{digest}/{attempt}")
        donor = order[attempt] if attempt < len(order) else None
        attempt_pool = pool if attempt < with_pool else DonorPool()
        replacements = _Replacements(attempt_pool, donor, frozenset(donors), generator, common, mixed=mixed)
        swapped = _swap(texts, entities, replacements)
        if tuple(swapped) not in seen:
            seen.add(tuple(swapped))
            copies.append(record.with_texts(swapped))
    return copies


class _Replacements:
    """The new values of one counterfactual, by kind and old value: each is chosen once, where it first stands."""

    def __init__(
        self,
        pool: DonorPool,
        donor: int | None,
        donors: frozenset[int],
        generator: random.Random,
        common: CommonWords,
        *,
        mixed: bool,
    ) -> None:
        self._mixed = mixed
        self._pool, self._donor, self._donors = pool, donor, donors
        self._generator, self._common = generator, common
        self._values: dict[tuple[Kind, str], str] = {}

    def choose(self, entity: Entity, languages: Sequence[str]) -> None:
        """Chooses new values for those parts of an entity that have none yet."""
        keys = [(part.kind, part.text.casefold()) for part in entity.parts]
        if all(key in self._values for key in keys):
            return
        if entity.form in ("email", "url"):
            self._values[keys[0]] = self._address(entity)
            return
        replacement = self._replacement(entity)
        for number, (key, part) in enumerate(zip(keys, entity.parts, strict=True)):
            if key not in self._values:
                value = replacement.parts[number].text if replacement else None
                if value is not None and self._mixed:
                    value = self._recombined(value, entity, number)
                self._values[key] = value or synthesize_value(part.text, part.kind, self._generator, languages)

    def _replacement(self, entity: Entity) -> Entity | None:
        return self._pool.replacement(entity, self._donor, self._donors, self._generator)

    def _recombined(self, value: str, entity: Entity, number: int) -> str:
        """A part's value with the same part of another replacement: words as a whole, digits one by one."""
        other = self._replacement(entity)
        return value if other is None else recombine(value, other.parts[number].text, self._generator)

    def value(self, kind: Kind, text: str) -> str:
        value = self._values[kind, text.casefold()]
        return match_case(value, text) if kind == "word" else value

    def _address(self, entity: Entity) -> str:
        known = {text: value for (kind, text), value in self._values.items() if kind in ("word", "year", "number")}
        if replace_known(entity.text, known) == entity.text:
            replacement = self._replacement(entity)
            if replacement is not None:
                return self._recombined(replacement.text, entity, 0) if self._mixed else replacement.text
        return synthesize_address(entity.text, self._generator, known, self._common.is_common)


def _swap(texts: Sequence[str], entities: Sequence[Entity], replacements: _Replacements) -> list[str]:
    """The texts with every entity swapped for its replacement."""
    languages = [month_languages(text) for text in texts]
    # Addresses come last, since they may be made of names and numbers; whole names come before parts of them.
    for entity in sorted(entities, key=lambda entity: (entity.form in ("email", "url"), -len(entity.parts))):
        replacements.choose(entity, languages[entity.text_number])
    swapped = []
    for number, text in enumerate(texts):
        pieces, end = [], 0
        for entity in (entity for entity in entities if entity.text_number == number):
            for part in entity.parts:
                pieces += [text[end : part.start], replacements.value(part.kind, part.text)]
                end = part.end
        swapped.append("".join([*pieces, text[end:]]))
    return swapped


def _slots(entity: Entity) -> list[Slot]:
    """The slots of an entity, from the narrowest (both neighbours) to form and shape alone."""
    form = (entity.form, entity.shape)
    return [
        (*form, "both", entity.left, entity.right),
        (*form, "left", entity.left),
        (*form, "right", entity.right),
        form,
    ]
