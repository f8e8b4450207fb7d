"""The context of an evaluation: one model, and the sets that it is measured on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.evaluation.cache import MeasurementCache
from core.evaluation.stats.bootstrap import Resamples, Values
from core.lm.data import Chunk, encode
from core.lm.errors import CoreError
from core.lm.model import context_length
from core.lm.token_statistics import TokenStatistics, token_statistics
from core.schema.evaluation import Moment, SetName
from core.schema.policies import FORGET_SETS
from core.schema.previously_forgotten import EarlierRequest, Unread
from core.schema.record import Record
from core.schema.training import Training

Columns = dict[str, Values]
"""Values of a set's records, by the column's name: (records,) each."""

LoadedModel = tuple[PreTrainedModel, PreTrainedTokenizerBase]


@dataclass(frozen=True)
class EarlierRecords:
    """An earlier request, and a sample of its records with their positions; no record where its text is unread."""

    request: EarlierRequest
    records: list[tuple[int, Record]]
    unread: Unread | None = None


class EvalContext:
    """Gives measurements the model, the measuring halves of the sets, and columns that were computed before.

    The halves that train or calibrate are left out, so that no figure can stand on them.
    `load` loads the same model again. `retrained` is the context of a retrained model, `original` that of the model
    the job started from: both keep their columns, but no model. `original_directory` holds the files of the model that
    this one was made from. `earlier` are requests that it should have forgotten before the job. `check_stop` raises
    where the job is to stop.
    """

    def __init__(
        self,
        load: Callable[[], LoadedModel],
        sets: Mapping[SetName, Sequence[Record]],
        *,
        training: Training,
        moment: Moment = "after",
        loaded: LoadedModel | None = None,
        retrained: "EvalContext | None" = None,
        original: "EvalContext | None" = None,
        original_directory: Path | None = None,
        earlier: Sequence[EarlierRecords] = (),
        cache: MeasurementCache | None = None,
        check_stop: Callable[[], None] = lambda: None,
        benchmark_tasks: Path | None = None,
        benchmark_code: bool = False,
    ) -> None:
        self._load, self._loaded = load, loaded
        self.sets = {name: list(records) for name, records in sets.items() if records}
        self.empty_sets = [name for name, records in sets.items() if not records]
        self.training, self.moment, self.retrained = training, moment, retrained
        self.check_stop = check_stop
        self.original, self.original_directory = original, original_directory
        self.earlier = earlier
        self.seed = training.seed
        self.cache = cache
        self.benchmark_tasks, self.benchmark_code = benchmark_tasks, benchmark_code
        """The operator's folder of benchmark tasks, and whether they may run code that the model writes."""
        self._columns: dict[tuple[str, SetName], Columns] = {}

    @property
    def model(self) -> PreTrainedModel:
        return self._load_once()[0]

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self._load_once()[1]

    @property
    def length(self) -> int:
        """Tokens of the longest chunk."""
        return context_length(self.model, self.training.max_length)

    def unload_model(self) -> None:
        """Drops the model; the next use loads it again."""
        self._loaded = None

    def resamples(self, name: str) -> Resamples:
        return Resamples(self.seed, name)

    def subset_indices(self, name: SetName, limit: int | None) -> list[int]:
        """Indices of the at most `limit` records that stand for a set, ascending; None: of all records.

        The records with the smallest digests are taken, so neither the seed nor the order of the file matters.
        """
        records = self.sets.get(name, [])
        if limit is None or limit >= len(records):
            return list(range(len(records)))
        digests = [record.digest() for record in records]
        return sorted(sorted(range(len(records)), key=lambda index: (digests[index], index))[:limit])

    def encode(self, records: Sequence[Record]) -> list[Chunk]:
        """Tokenizes records as the job reads them. Raises CoreError `no_scored_tokens` and its like."""
        return encode(records, self.tokenizer, max_length=self.length, chat=self.training.chat)

    def statistics(self, records: Sequence[Record], *, label: str) -> list[TokenStatistics]:
        """Token statistics of records, from one pass through the model.

        `label` names the set in errors. Raises CoreError as `encode` does, and `not_finite` where a probability is no
        finite number.
        """
        if not records:
            return []
        try:
            chunks = self.encode(records)
        except CoreError as error:
            if error.code != "no_scored_tokens":
                raise
            # The number in the error counts the measuring half alone, so it would point to a wrong line of the file.
            raise CoreError(error.code, f"a record of the {label} set is too short: it has no token to score") from None
        return self.chunk_statistics(chunks, len(records), label=label)

    def chunk_statistics(
        self, chunks: Sequence[Chunk], records: int, *, label: str, variants: Sequence[range] = ()
    ) -> list[TokenStatistics]:
        """Token statistics of `records` records that are encoded already; `variants` as in `token_statistics`.

        Raises CoreError `not_finite`.
        """
        statistics = token_statistics(
            self.model, chunks, records, max_tokens=self.training.micro_batch_tokens, variants=variants
        )
        if not all(record.finite() for record in statistics):
            message = f"the model gives no finite probabilities on the {label} set: its weights are broken"
            raise CoreError("not_finite", message)
        return statistics

    def columns(self, key: str, name: SetName, compute: Callable[[Sequence[Record]], Columns]) -> Columns:
        """Columns of a set's records, computed once per key and then kept here and in the cache.

        The key names all that decides the values besides model, records, training and code. The cache keeps no column
        of the forget set and its probes, unless it has `keeps_forget_set`.
        """
        if (key, name) not in self._columns:
            records = self.sets[name]
            cache = self.cache
            if cache is not None and name in FORGET_SETS and not cache.keeps_forget_set:
                cache = None
            columns = cache.columns(key, records, self.training) if cache else None
            if columns is None:
                columns = compute(records)
                if cache:
                    cache.keep_columns(key, records, self.training, columns)
            self._columns[key, name] = columns
        return self._columns[key, name]

    def keep_columns(self, key: str, name: SetName, columns: Columns) -> None:
        """Keeps columns of a changed copy of the model, to compare other models with them; never in the cache."""
        self._columns[key, name] = columns

    def computed_columns(self, key: str, name: SetName) -> Columns | None:
        """The columns that `columns` has given, or `keep_columns` has kept, under this key; None: not yet."""
        return self._columns.get((key, name))

    def _load_once(self) -> LoadedModel:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded
