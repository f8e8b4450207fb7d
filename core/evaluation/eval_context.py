"""What a measurement works on: one model, and the sets that it is measured on."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.evaluation.cache import Cache
from core.evaluation.measurement import Budget, Measurement
from core.evaluation.stats.bootstrap import Resamples, Values
from core.lm.data import Chunk, encode
from core.lm.errors import CoreError
from core.lm.model import context_length
from core.lm.token_statistics import TokenStatistics, token_statistics
from core.schema.evaluation import Moment, SetName
from core.schema.policies import FORGET_SETS
from core.schema.record import Record
from core.schema.training import Training

Columns = dict[str, Values]
"""A value of each record of a set, by the values' names: (records,) each."""

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


class EvalContext:
    """What measurements read: the model, the measuring parts of the sets, and what was already found of each record.

    The halves that train or calibrate are not among it, so that no figure can stand on them.
    `load` loads the same model again. `retrained` is the context of a retrained model, `original` that of the model
    the job started from: they keep what was measured there but no model. `heard` raises where somebody wishes the job
    to stop.
    """

    def __init__(
        self,
        load: Callable[[], Loaded],
        sets: Mapping[SetName, Sequence[Record]],
        *,
        training: Training,
        moment: Moment = "after",
        loaded: Loaded | None = None,
        retrained: "EvalContext | None" = None,
        original: "EvalContext | None" = None,
        cache: Cache | None = None,
        heard: Callable[[], None] = lambda: None,
        benchmark_tasks: Path | None = None,
        benchmark_code: bool = False,
    ) -> None:
        self._load, self._loaded = load, loaded
        self.sets = {name: list(records) for name, records in sets.items() if records}
        self.empty = [name for name, records in sets.items() if not records]
        self.training, self.moment, self.retrained, self.heard = training, moment, retrained, heard
        self.original = original
        self.seed = training.seed
        self.cache = cache
        self.benchmark_tasks, self.benchmark_code = benchmark_tasks, benchmark_code
        """The operator's folder of benchmark tasks, and whether they may run code that the model writes."""
        self._columns: dict[tuple[str, SetName], Columns] = {}

    @property
    def model(self) -> PreTrainedModel:
        return self._present()[0]

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self._present()[1]

    @property
    def length(self) -> int:
        """Tokens of the longest chunk."""
        return context_length(self.model, self.training.max_length)

    def let_go(self) -> None:
        """Drops the model; it is loaded again when it is asked for."""
        self._loaded = None

    def budget(self, measurement: Measurement) -> Budget:
        return Budget(measurement, self.heard)

    def resamples(self, name: str) -> Resamples:
        return Resamples(self.seed, name)

    def chosen(self, name: SetName, count: int | None) -> list[int]:
        """Which records stand for a set where at most `count` are looked at: ascending places, the same every time.

        By a hash of the record, so that neither the seed nor the order of the others matters."""
        records = self.sets.get(name, [])
        if count is None or count >= len(records):
            return list(range(len(records)))
        hashes = [record.digest() for record in records]
        return sorted(sorted(range(len(records)), key=lambda place: (hashes[place], place))[:count])

    def encode(self, records: Sequence[Record]) -> list[Chunk]:
        """Raises CoreError `no_scored_tokens` and its like."""
        return encode(records, self.tokenizer, max_length=self.length, chat=self.training.chat)

    def statistics(self, records: Sequence[Record], *, what: str) -> list[TokenStatistics]:
        """One pass over records. Raises CoreError as `encode` does, and `not_finite` where the model says no number."""
        if not records:
            return []
        try:
            chunks = self.encode(records)
        except CoreError as error:
            if error.code != "no_scored_tokens":
                raise
            # without its number, which would be one among those that measure
            raise CoreError(error.code, f"a record of the {what} set is too short: it has no token to score") from None
        return self.statistics_of(chunks, len(records), what=what)

    def statistics_of(self, chunks: Sequence[Chunk], records: int, *, what: str) -> list[TokenStatistics]:
        """The same of chunks of so many records."""
        found = token_statistics(self.model, chunks, records, max_tokens=self.training.micro_batch_tokens)
        if not all(one.finite() for one in found):
            message = f"the model gives no finite probabilities on the {what} set: its weights are broken"
            raise CoreError("not_finite", message)
        return found

    def columns(self, key: str, name: SetName, compute: Callable[[Sequence[Record]], Columns]) -> Columns:
        """`compute` of a set's records under this key, once: kept here and in the cache, which keeps nothing of forget
        and its probes unless it `keeps_forgotten`. The key names all that decides the values but model, records,
        training and code."""
        if (key, name) not in self._columns:
            records = self.sets[name]
            shared = self.cache
            if shared is not None and name in FORGET_SETS and not shared.keeps_forgotten:
                shared = None
            found = shared.columns(key, records, self.training) if shared else None
            if found is None:
                found = compute(records)
                if shared:
                    shared.keep_columns(key, records, self.training, found)
            self._columns[key, name] = found
        return self._columns[key, name]

    def known(self, key: str, name: SetName) -> Columns | None:
        """What `columns` has already given."""
        return self._columns.get((key, name))

    def _present(self) -> Loaded:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded
