"""`python -m core.pipeline`: see the package; `--wait` belongs to `prefork`, `--rank` to `rank_processes`."""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from core.lm.block_sizes import ONEDNN_PRIMITIVES
from core.lm.errors import out_of_memory
from core.lm.memory import HUGE_PAGES, configure_allocator
from core.lm.offline import OFFLINE
from core.pipeline.channel import Channel
from core.pipeline.preimport import without_gc
from core.pipeline.rank_processes import INTERNAL, RankProcesses
from core.pipeline.validation_messages import describe_errors
from core.schema.events import Failed, PhaseStarted
from core.schema.job_spec import JobSpec, UnlearnSpec
from core.schema.jobs import JobError

os.environ.update(OFFLINE, TRANSFORMERS_VERBOSITY="error")
for name, value in HUGE_PAGES.items():
    os.environ.setdefault(name, value)
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(ONEDNN_PRIMITIVES))
EXPLAINED, UNEXPLAINED = 3, 1


def main(arguments: Sequence[str] = ()) -> int:
    parser = argparse.ArgumentParser(prog="python -m core.pipeline")
    parser.add_argument("--wait", type=int, help="wait for a job on this descriptor")
    parser.add_argument("--rank", type=int, default=0, help="this process's rank among those that share the job")
    parser.add_argument("--meeting", type=Path, default=Path(), help="the file through which the ranks find each other")
    options = parser.parse_args(arguments)
    configure_allocator()
    channel = Channel()
    if options.wait is not None:
        from core.pipeline.prefork import wait_for_job

        wait_for_job(options.wait)
    try:
        spec = channel.read_spec()
    except ValidationError as error:
        return _failed(channel, "bad_spec", f"invalid job spec: {describe_errors(error)}", EXPLAINED)
    channel.listen(leads=options.rank == 0)
    began = time.monotonic()
    channel.emit(PhaseStarted(phase="loading"))
    try:
        with _other_ranks(spec, channel, options.rank) as rank_processes:
            return _run(spec, channel, began, options.rank, options.meeting, rank_processes)
    except Exception as error:  # noqa: BLE001 - the last event of this process, whatever the error
        return _out_of_memory(channel, error) if out_of_memory(error) else _unexpected(channel, error)


def _other_ranks(spec: JobSpec, channel: Channel, rank: int) -> AbstractContextManager[RankProcesses | None]:
    """Starts the other ranks of a job that several processes share; None where this process starts none."""
    if isinstance(spec, UnlearnSpec) and spec.ranks > 1 and rank == 0:
        return RankProcesses(spec, partial(_end_with_error, channel))
    return nullcontext()


def _run(
    spec: JobSpec, channel: Channel, began: float, rank: int, meeting: Path, rank_processes: RankProcesses | None
) -> int:
    # imported here: torch and transformers take seconds, and a bad spec should fail without them
    with without_gc():
        from core.lm.errors import CoreError
        from core.pipeline.run import Run

    run = Run(spec, channel.emit, channel.cancelled, channel.paused, began=began, rank_processes=rank_processes)
    try:
        run.train_as_rank(spec, rank, meeting) if isinstance(spec, UnlearnSpec) and rank > 0 else run()
    except CoreError as error:
        channel.emit(Failed(error=error.as_error()))
        return EXPLAINED
    except Exception as error:
        if rank_processes is not None and not out_of_memory(error):
            rank_processes.await_failure()
        raise
    return 0


def _end_with_error(channel: Channel, error: JobError) -> None:
    """Ends this process with the error of another rank."""
    channel.emit(Failed(error=error))
    os._exit(UNEXPLAINED if error.code == INTERNAL else EXPLAINED)


def _out_of_memory(channel: Channel, error: BaseException) -> int:
    _print_frames(error)
    advice = "the job ran out of memory: lower training.max_length or records_per_step, or use a larger worker"
    return _failed(channel, "out_of_memory", advice, EXPLAINED)


def _unexpected(channel: Channel, error: BaseException) -> int:
    """Reports the error's class alone: the text of an error, or of its cause, may quote a record."""
    _print_frames(error)
    message = f"an unexpected error ({type(error).__name__}); the worker's log says where"
    return _failed(channel, INTERNAL, message, UNEXPLAINED, blame="service", retryable=True)


def _print_frames(error: BaseException) -> None:
    """Prints where an error and its causes happened to standard error: files, lines, functions, classes, no values."""
    chain: BaseException | None = error
    while chain is not None:
        print("".join(_frames(chain)) + type(chain).__qualname__, file=sys.stderr)
        chain = chain.__cause__ or chain.__context__


def _frames(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    return [f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}\n' for frame in frames]


def _failed(
    channel: Channel, code: str, message: str, exit_code: int, *, blame: str = "user", retryable: bool = False
) -> int:
    error = JobError(code=code, message=message, blame="service" if blame == "service" else "user", retryable=retryable)
    channel.emit(Failed(error=error))
    return exit_code


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    # not sys.exit: the thread that listens for commands blocks on standard input
    os._exit(code)
