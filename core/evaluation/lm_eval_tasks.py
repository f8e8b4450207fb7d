"""Runs tasks of lm-evaluation-harness on a loaded model, with data from this machine's disk.

The harness is an extra (`[lm-eval]`) and is imported where it is used. The environment of a process decides whether it
may fetch anything: `core.pipeline` sets it so that nothing is fetched.
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
"""Bootstrap resamples for the standard error of metrics that are no means."""
_Z = NormalDist().inv_cdf(0.975)


class TimeUp(Exception):
    """The time was up before the task was done."""


class Harness:
    """The available tasks, and a model to run them on.

    `directory` is the operator's folder of further task definitions (YAML), with the data and code that they name
    relative to it. Tasks that execute code which the model writes are refused unless `allow_code`. `expired` is asked
    before every forward pass whether the time is up, and may raise.
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
        expired: Callable[[], bool],
    ) -> None:
        """Raises CoreError `benchmarks_unavailable`."""
        require()
        from lm_eval.models.huggingface import HFLM

        class InterruptibleLM(HFLM):  # type: ignore[misc]
            def _model_call(self, *args: Any, **kwargs: Any) -> Any:
                if expired():
                    raise TimeUp
                return super()._model_call(*args, **kwargs)

            def _model_generate(self, *args: Any, **kwargs: Any) -> Any:
                if expired():
                    raise TimeUp
                return super()._model_generate(*args, **kwargs)

        self._directory, self._allow_code, self._chat, self._seed = directory, allow_code, chat, seed
        with _quiet():
            self._model = InterruptibleLM(
                pretrained=model,
                tokenizer=copy.deepcopy(tokenizer),  # the harness may add a padding token to it
                batch_size=batch_size,
                max_length=max_length,
                mixed_precision_dtype=measuring_precision(model),
            )

    def run(self, name: str, *, examples: int | None, fewshot: int | None) -> "Results":
        """Runs a task, or each task of a group, on its first `examples`.

        Raises CoreError `unknown_task`, `unsafe_task`, `benchmarks_unavailable`, and TimeUp.
        """
        from lm_eval.evaluator import evaluate

        with _quiet():
            loaded = self._load_tasks(name)
            for task in loaded["tasks"].values():
                # as in the harness's own command: a task that sets 0 keeps it
                if fewshot is not None and task.get_config("num_fewshot") != 0:
                    task.set_config(key="num_fewshot", value=fewshot)
                elif task.get_config("num_fewshot") is None:
                    task.set_config(key="num_fewshot", value=0)
                task.set_fewshot_seed(seed=self._seed)
            random.seed(self._seed)
            np.random.seed(self._seed)
            torch.manual_seed(self._seed)
            results = evaluate(
                lm=self._model,
                task_dict=loaded,
                limit=examples,
                bootstrap_iters=_RESAMPLES,
                log_samples=False,
                apply_chat_template=self._chat,
                confirm_run_unsafe_code=self._allow_code,
            )
        return Results(results)

    def _load_tasks(self, name: str) -> Any:
        manager = _task_manager(self._directory, defaults=False)
        if name not in manager.all_tasks:
            manager = _task_manager(self._directory, defaults=True)
        if name not in manager.all_tasks:  # a path is refused here, although the harness would accept it
            raise CoreError("unknown_task", f"there is no benchmark task '{name}' on this worker")
        if not self._allow_code and (manager.task_index[name].cfg or {}).get("unsafe_code"):
            raise _unsafe(name)
        try:
            with nullcontext() if self._directory is None else chdir(self._directory):
                loaded = manager.load([name])
        except Exception as error:  # a task's definition may cause any exception
            message = (
                f"the benchmark task '{name}' could not be loaded ({type(error).__name__}): its data must be on this"
                " worker's disk, since nothing is fetched"
            )
            raise CoreError("benchmarks_unavailable", message) from error
        if not self._allow_code and any(getattr(task, "UNSAFE_CODE", False) for task in loaded["tasks"].values()):
            raise _unsafe(name)
        return loaded


class Results:
    """The harness's results for one name: for a group, those of each of its tasks too."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self._results = results

    def figures(self) -> tuple[dict[str, dict[str, Figure]], list[str]]:
        """(each task's metrics, the metrics that were left out because they are no finite number).

        A metric has a 95 % interval if the task states its standard error. It goes by its own name, followed by the
        filter's name where the task has named filters.
        """
        figures: dict[str, dict[str, Figure]] = {}
        broken: list[str] = []
        for task, values in {**self._results["results"], **(self._results.get("groups") or {})}.items():
            for key, value in values.items():
                metric, _, filter_name = key.partition(",")
                if not filter_name or metric.endswith("_stderr") or not isinstance(value, int | float):
                    continue
                if not math.isfinite(value):
                    broken.append(f"{task} {metric}")
                    continue
                error = values.get(f"{metric}_stderr,{filter_name}")
                has_error = isinstance(error, int | float) and math.isfinite(error)
                name = metric if filter_name == "none" else key
                figures.setdefault(task, {})[name] = Figure(
                    value=float(value),
                    low=value - _Z * error if has_error else None,
                    high=value + _Z * error if has_error else None,
                    records=int(values["sample_len"]),
                )
        return figures, broken

    def counts(self) -> Iterator[tuple[str, int, int]]:
        """(task, examples measured, examples in total) of each task."""
        for task, count in self._results["n-samples"].items():
            yield task, int(count["effective"]), int(count["original"])


def require() -> None:
    """Raises CoreError `benchmarks_unavailable` if the harness is not installed."""
    if importlib.util.find_spec("lm_eval") is None:
        message = "benchmarks need lm-evaluation-harness on the worker (the extra [lm-eval]), and it is not installed"
        raise CoreError("benchmarks_unavailable", message)


def tasks_version(directory: Path | None) -> list[str]:
    """The version of the tasks: the harness's version, and a digest of the directory's files. Raises as `require`."""
    require()
    state = hashlib.sha256()
    if directory is not None:
        for file in sorted(directory.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                name, status = file.relative_to(directory).as_posix(), file.stat()
                state.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return [version("lm_eval"), state.hexdigest()]


@cache
def _task_manager(directory: Path | None, *, defaults: bool) -> Any:
    """The index of tasks. `defaults` adds the harness's own, whose definitions take seconds to read."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=None if directory is None else str(directory), include_defaults=defaults)


def _unsafe(name: str) -> CoreError:
    message = (
        f"the benchmark task '{name}' runs code that the model writes, which this worker's operator does not allow"
    )
    return CoreError("unsafe_task", message)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the harness: standard output is for events, and its logs and progress bars might show a task's text."""
    levels = {name: logging.getLogger(name).level for name in ("lm_eval", "datasets", "evaluate")}
    before = os.environ.get("DISABLE_MULTIPROC")
    os.environ["DISABLE_MULTIPROC"] = "1"  # a process that has loaded torch must not be forked
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with open(os.devnull, "w") as devnull, redirect_stdout(devnull), redirect_stderr(devnull):
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if before is None:
            del os.environ["DISABLE_MULTIPROC"]
        else:
            os.environ["DISABLE_MULTIPROC"] = before
