"""Tasks of lm-evaluation-harness, run on a model that is already loaded, with data from this machine's disk.

The harness is an extra (`[lm-eval]`) and imported where it is used. What a process fetches is decided by its
environment: `core.pipeline` sets it so that nothing is.
"""

import copy
import hashlib
import importlib.util
import logging
import math
import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from functools import cache
from importlib.metadata import version
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.lm.errors import CoreError
from core.lm.token_statistics import measuring_precision
from core.schema.evaluation import Figure

_RESAMPLES = 1000
"""For the standard error of what is no mean."""
_Z = NormalDist().inv_cdf(0.975)


class TimeUp(Exception):
    """There is no time left for the task."""


class Harness:
    """The tasks that there are, and a model to run them on.

    `directory` is the operator's: of task definitions (YAML) beside those that come with the harness, with the data
    and the code that they name, relative to it. Tasks that run what the model writes are refused unless `allow_code`.
    `over` is asked before every forward pass whether the time is up, and may raise.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        directory: Path | None,
        allow_code: bool,
        max_length: int,
        batch_size: int,
        chat: bool,
        seed: int,
        over: Callable[[], bool],
    ) -> None:
        """Raises CoreError `benchmarks_unavailable`."""
        require()
        from lm_eval.models.huggingface import HFLM

        class Heard(HFLM):  # type: ignore[misc]
            def _model_call(self, *given: Any, **named: Any) -> Any:
                if over():
                    raise TimeUp
                return super()._model_call(*given, **named)

            def _model_generate(self, *given: Any, **named: Any) -> Any:
                if over():
                    raise TimeUp
                return super()._model_generate(*given, **named)

        self._directory, self._allow_code, self._chat, self._seed = directory, allow_code, chat, seed
        with _quiet():
            self._model = Heard(
                pretrained=model,
                tokenizer=copy.deepcopy(tokenizer),  # it may be given a token to pad with
                batch_size=batch_size,
                max_length=max_length,
                mixed_precision_dtype=measuring_precision(model),
            )

    def run(self, name: str, *, examples: int | None, fewshot: int | None) -> "Results":
        """The first `examples` of a task, or of each task of a group. Raises CoreError `unknown_task`,
        `unsafe_task`, `benchmarks_unavailable`, and TimeUp."""
        from lm_eval.evaluator import evaluate

        with _quiet():
            loaded = self._loaded(name)
            for task in loaded["tasks"].values():
                # as the harness's own command does: a task that says 0 means it
                if fewshot is not None and task.get_config("num_fewshot") != 0:
                    task.set_config(key="num_fewshot", value=fewshot)
                elif task.get_config("num_fewshot") is None:
                    task.set_config(key="num_fewshot", value=0)
                task.set_fewshot_seed(seed=self._seed)
            random.seed(self._seed)
            np.random.seed(self._seed)
            torch.manual_seed(self._seed)
            found = evaluate(
                lm=self._model,
                task_dict=loaded,
                limit=examples,
                bootstrap_iters=_RESAMPLES,
                log_samples=False,
                apply_chat_template=self._chat,
                confirm_run_unsafe_code=self._allow_code,
            )
        return Results(found)

    def _loaded(self, name: str) -> Any:
        manager = _manager(self._directory, defaults=False)
        if name not in manager.all_tasks:
            manager = _manager(self._directory, defaults=True)
        if name not in manager.all_tasks:  # never a path, which the harness would take too
            raise CoreError("unknown_task", f"there is no benchmark task '{name}' on this worker")
        if not self._allow_code and (manager.task_index[name].cfg or {}).get("unsafe_code"):
            raise _unsafe(name)
        try:
            with nullcontext() if self._directory is None else chdir(self._directory):
                loaded = manager.load([name])
        except Exception as error:  # a task's definition may make any library raise anything
            message = (
                f"the benchmark task '{name}' could not be loaded ({type(error).__name__}): its data must be on this"
                " worker's disk, since nothing is fetched"
            )
            raise CoreError("benchmarks_unavailable", message) from error
        if not self._allow_code and any(getattr(task, "UNSAFE_CODE", False) for task in loaded["tasks"].values()):
            raise _unsafe(name)
        return loaded


class Results:
    """What the harness found of one name: of a group, of each of its tasks as well."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._found = found

    def figures(self) -> tuple[dict[str, dict[str, Figure]], list[str]]:
        """Each task's metrics with 95 % intervals from their standard errors, where they have one; and the tasks of
        which a metric was no finite number, and is left out.

        A metric goes by its own name, and with the filter's behind it where the task has named filters.
        """
        figures: dict[str, dict[str, Figure]] = {}
        broken: list[str] = []
        for task, values in {**self._found["results"], **(self._found.get("groups") or {})}.items():
            for key, value in values.items():
                metric, _, chosen = key.partition(",")
                if not chosen or metric.endswith("_stderr") or not isinstance(value, int | float):
                    continue
                if not math.isfinite(value):
                    broken.append(f"{task} {metric}")
                    continue
                error = values.get(f"{metric}_stderr,{chosen}")
                known = isinstance(error, int | float) and math.isfinite(error)
                name = metric if chosen == "none" else key
                figures.setdefault(task, {})[name] = Figure(
                    value=float(value),
                    low=value - _Z * error if known else None,
                    high=value + _Z * error if known else None,
                    records=int(values["sample_len"]),
                )
        return figures, broken

    def counts(self) -> Iterator[tuple[str, int, int]]:
        """Of each task its name, how many examples were measured, and of how many."""
        for task, count in self._found["n-samples"].items():
            yield task, int(count["effective"]), int(count["original"])


def require() -> None:
    """Raises CoreError `benchmarks_unavailable` where the harness is not installed."""
    if importlib.util.find_spec("lm_eval") is None:
        message = "benchmarks need lm-evaluation-harness on the worker (the extra [lm-eval]), and it is not installed"
        raise CoreError("benchmarks_unavailable", message)


def edition(directory: Path | None) -> list[str]:
    """What tells the tasks of one day from those of another: the harness's version, and the directory's state."""
    require()
    whole = hashlib.sha256()
    if directory is not None:
        for file in sorted(directory.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                name, state = file.relative_to(directory).as_posix(), file.stat()
                whole.update(f"{name}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return [version("lm_eval"), whole.hexdigest()]


@cache
def _manager(directory: Path | None, *, defaults: bool) -> Any:
    """The names of the tasks that there are; with the harness's own, reading their definitions takes seconds."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=None if directory is None else str(directory), include_defaults=defaults)


def _unsafe(name: str) -> CoreError:
    message = (
        f"the benchmark task '{name}' runs code that the model writes, which this worker's operator does not allow"
    )
    return CoreError("unsafe_task", message)


@contextmanager
def _quiet() -> Iterator[None]:
    """Standard output is for events, and what is drawn or logged might hold a task's text."""
    levels = {name: logging.getLogger(name).level for name in ("lm_eval", "datasets", "evaluate")}
    before = os.environ.get("DISABLE_MULTIPROC")
    os.environ["DISABLE_MULTIPROC"] = "1"  # a process with torch in it is not forked
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if before is None:
            del os.environ["DISABLE_MULTIPROC"]
        else:
            os.environ["DISABLE_MULTIPROC"] = before
