"""The cache of measurements: reused for the same model, records and code only, and safe against crashes."""

import errno
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import core
from core.evaluation import cache, code_version
from core.evaluation.cache import CacheUnusable, MeasurementCache
from core.evaluation.eval_context import EvalContext
from core.evaluation.measurement import Measurement
from core.evaluation.measurements import resolve_measurements
from core.evaluation.runner import measure_model
from core.lm.token_statistics import TokenStatistics
from core.schema.evaluation import MeasurementResult, Measurements, SetName
from core.schema.record import Record
from core.schema.training import Training
from tests.tiny_model import TinyModel
from tests.unit.evaluation.test_runner import TRAINING

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]
RECORDS = [Record(text="one"), Record(text="two")]
COLUMNS = {"loss": np.array([1.0, 2.0]), "score/loss": np.array([-1.0, -2.0])}


class Counting(EvalContext):
    """A context that lists the sets that it has run through the model."""

    def __init__(self, loaded: Loaded, sets: dict[SetName, list[Record]], kept: MeasurementCache) -> None:
        super().__init__(lambda: loaded, sets, training=TRAINING, cache=kept)
        self.passes: list[str] = []

    def statistics(self, records: Sequence[Record], *, label: str) -> list[TokenStatistics]:
        self.passes.append(label)
        return super().statistics(records, label=label)


def open_cache(folder: Path, model: str = "0" * 64, dtype: str = "auto") -> MeasurementCache:
    return MeasurementCache(folder, model_digest=model, dtype=dtype)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "measured"


def measured(context: EvalContext) -> Measurements:
    return measure_model(context, resolve_measurements(["likelihood", "membership"]), model_digest="0" * 64)


def test_a_second_job_measures_only_its_forget_set_and_has_the_same_figures(
    loaded: Loaded, tiny_model: TinyModel, folder: Path
) -> None:
    first = Counting(loaded, tiny_model.sets, open_cache(folder))
    figures = measured(first)
    assert sorted(first.passes) == ["forget", "retain", "unseen"]
    others = {**tiny_model.sets, "forget": tiny_model.sets["forget"][:3]}
    second = Counting(loaded, others, open_cache(folder))
    of_others = measured(second)
    assert second.passes == ["forget"]
    assert (of_others.sets["retain"], of_others.sets["unseen"]) == (figures.sets["retain"], figures.sets["unseen"])
    third = Counting(loaded, tiny_model.sets, open_cache(folder))
    again = measured(third)
    assert third.passes == ["forget"]  # the very same sets: of what must be forgotten nothing was kept
    assert (again.sets, again.attacks, again.warnings) == (figures.sets, figures.attacks, figures.warnings)


def test_figures_of_sets_other_than_forget_are_cached(loaded: Loaded, tiny_model: TinyModel, folder: Path) -> None:
    others = {name: records for name, records in tiny_model.sets.items() if name != "forget"}
    figures = measured(Counting(loaded, others, open_cache(folder)))
    again = Counting(loaded, others, open_cache(folder))
    for file in folder.glob("*.npz"):
        file.unlink()
    cached = measured(again)
    assert again.passes == []
    assert (cached.sets, cached.warnings) == (figures.sets, figures.warnings)


class Reading(Measurement):
    name: ClassVar[str] = "reading"
    summary: ClassVar[str] = "how often it was made"
    reads: ClassVar[frozenset[SetName] | None] = frozenset({"retain"})
    made: ClassVar[int] = 0

    def measure(self, context: EvalContext) -> MeasurementResult:
        type(self).made += 1
        return MeasurementResult()


def test_a_measurement_that_does_not_read_the_forget_set_is_cached(loaded: Loaded, folder: Path) -> None:
    retain, forget = RECORDS, [Record(text="a"), Record(text="b")]
    for sets, times in (
        ({"retain": retain, "forget": forget}, 1),
        ({"retain": retain, "forget": forget[:1]}, 1),
        ({"retain": retain[:1], "forget": forget}, 2),
    ):
        context = Counting(loaded, sets, open_cache(folder))  # type: ignore[arg-type]
        measure_model(context, [Reading()], model_digest="0" * 64)
        assert Reading.made == times


def test_nothing_of_forget_and_probes_is_cached(loaded: Loaded, tiny_model: TinyModel, folder: Path) -> None:
    asked: dict[SetName, list[Record]] = {"forget": tiny_model.sets["forget"], "probes": tiny_model.sets["unseen"]}
    measured(Counting(loaded, asked, open_cache(folder)))
    assert [file.name for file in folder.iterdir()] == ["key"]


def test_a_benchmarks_cache_keeps_columns_of_the_forget_set_too(
    loaded: Loaded, tiny_model: TinyModel, folder: Path
) -> None:
    def context() -> Counting:
        return Counting(
            loaded,
            tiny_model.sets,
            MeasurementCache(folder, model_digest="0" * 64, dtype="auto", keeps_forget_set=True),
        )

    figures = measured(first := context())
    assert "forget" in first.passes
    cached = measured(second := context())
    assert second.passes == []
    assert (cached.sets, cached.attacks, cached.warnings) == (figures.sets, figures.attacks, figures.warnings)


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "1" * 64},
        {"dtype": "bfloat16"},
        {"max_length": 8},
        {"chat": "template"},
        {"seed": 1},
        {"micro_batch_tokens": 64},
        {"master_weights": "bfloat16"},
        {"records": RECORDS[::-1]},
        {"key": "another"},
        {"code": "another"},
        {"threads": 7},
    ],
)
def test_columns_are_not_reused_for_another_model_training_code_or_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, object]
) -> None:
    open_cache(folder).keep_columns("key", RECORDS, TRAINING, COLUMNS)
    assert open_cache(folder).columns("key", RECORDS, TRAINING) is not None
    if "code" in changed:
        monkeypatch.setattr(cache, "code_digest", lambda: "another")
    if "threads" in changed:
        monkeypatch.setattr("torch.get_num_threads", lambda: changed["threads"])
    training = Training.model_validate(
        {**TRAINING.model_dump(), **{name: value for name, value in changed.items() if name in Training.model_fields}}
    )
    kept = open_cache(folder, str(changed.get("model", "0" * 64)), str(changed.get("dtype", "auto")))
    records = RECORDS[::-1] if "records" in changed else RECORDS
    assert kept.columns(str(changed.get("key", "key")), records, training) is None


@pytest.mark.parametrize(
    ("name", "another"),
    [
        ("evaluation/measurements/membership.py", True),
        ("lm/data.py", True),
        ("schema/files.py", True),
        ("pipeline/data_split.py", True),
        ("unlearning/eval_tokenization.py", True),
        ("unlearning/trainer.py", False),
    ],
)
def test_the_code_version_changes_with_every_file_that_decides_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, another: bool
) -> None:
    copy = tmp_path / "core"
    for folder in ("evaluation", "lm", "schema", "pipeline", "unlearning"):
        shutil.copytree(
            Path(core.__file__).parent / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    monkeypatch.setattr(core, "__file__", str(copy / "__init__.py"))
    assert code_version.digest() == cache._SOURCES
    with (copy / name).open("a") as source:
        source.write("\n")
    assert (code_version.digest() != cache._SOURCES) == another


@pytest.mark.parametrize("left", [b"", b"PK\x03\x04", b"half"])
def test_files_that_a_crash_left_incomplete_are_ignored(folder: Path, left: bytes) -> None:
    kept = open_cache(folder)
    kept.keep_columns("key", RECORDS, TRAINING, COLUMNS)
    kept.keep_result("key", {"forget": RECORDS}, TRAINING, MeasurementResult())
    for file in (*folder.glob("*.npz"), *folder.glob("*.json")):
        file.write_bytes(left)
    assert kept.columns("key", RECORDS, TRAINING) is None
    assert kept.result("key", {"forget": RECORDS}, TRAINING) is None


def test_a_full_disk_leaves_no_partial_file_and_fails_no_measurement(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = open_cache(folder)

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:1])
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    kept.keep_columns("key", RECORDS, TRAINING, COLUMNS)
    assert [file.name for file in folder.iterdir()] == ["key"]
    with pytest.raises(CacheUnusable):
        open_cache(folder.with_name("another"))
    assert list(folder.with_name("another").iterdir()) == []


def test_a_folder_that_other_users_can_read_and_a_file_are_refused(tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.mkdir()
    loose.chmod(0o750)
    with pytest.raises(CacheUnusable, match="private"):
        open_cache(loose)
    (tmp_path / "file").touch()
    with pytest.raises(CacheUnusable, match="FileExistsError"):
        open_cache(tmp_path / "file")
    assert (os.stat(open_cache(tmp_path / "new")._folder).st_mode & 0o777) == 0o700


def test_processes_that_open_a_new_folder_at_once_share_one_key(folder: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        keys = {opened_cache._key for opened_cache in threads.map(lambda _: open_cache(folder), range(32))}
    assert len(keys) == 1
    assert [file.name for file in folder.iterdir()] == ["key"]
    (folder / "key").write_bytes(b"short")  # as a crash may leave it
    assert len(open_cache(folder)._key) == 32


def test_the_files_unused_for_the_longest_time_are_deleted_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = open_cache(folder)
    kept.keep_columns("old", RECORDS, TRAINING, COLUMNS)
    (size,) = (file.stat().st_size for file in folder.glob("*.npz"))
    monkeypatch.setattr(cache, "MOST_BYTES", 2 * size)
    for file in folder.glob("*.npz"):
        os.utime(file, (1000, 1000))
    kept.keep_columns("middle", RECORDS, TRAINING, COLUMNS)
    (middle,) = (file for file in folder.glob("*.npz") if file.stat().st_mtime != 1000)
    os.utime(middle, (2000, 2000))
    assert kept.columns("old", RECORDS, TRAINING) is not None  # which is a use
    broken = folder / ".of a process that was killed"
    broken.touch()
    os.utime(broken, (1000, 1000))
    kept.keep_columns("new", RECORDS, TRAINING, COLUMNS)
    kept_keys = [name for name in ("old", "middle", "new") if kept.columns(name, RECORDS, TRAINING) is not None]
    assert kept_keys == ["old", "new"]
    assert not broken.exists()
