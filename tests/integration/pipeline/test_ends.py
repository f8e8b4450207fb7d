"""The ends of a child: cancelled, orphaned, or failed."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from core.lm.errors import out_of_memory
from core.schema.events import Cancelled, Done, Failed, Measured
from core.schema.job_spec import ChildMethod, FileRecords, MeasureSpec, RecordSet, SocketRecords, UnlearnSpec
from core.schema.jobs import JobError
from tests.integration.pipeline.child import COMMAND, Outcome, child, run
from tests.tiny_model import TinyModel

ENDLESS = 1000


def endless(spec: UnlearnSpec) -> UnlearnSpec:
    return spec.model_copy(update={"training": spec.training.model_copy(update={"epochs": ENDLESS})})


def error(outcome: Outcome) -> JobError:
    last = outcome.events[-1]
    assert isinstance(last, Failed), outcome.stderr
    return last.error


@contextlib.contextmanager
def record_server(path: Path, token: str, lines: list[bytes]) -> Iterator[list[bytes]]:
    """A supervisor's socket, which answers the token with the lines. Yields the tokens received."""
    received: list[bytes] = []
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen(1)
    server.settimeout(120)

    def serve() -> None:
        connection, _ = server.accept()
        with connection, connection.makefile("rwb") as stream:
            received.append(stream.readline().rstrip(b"\n"))
            if received[-1] == token.encode():
                stream.writelines(lines)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield received
    finally:
        thread.join()
        server.close()


def test_a_cancelled_job_finishes_its_update_and_reports_it(spec: UnlearnSpec) -> None:
    with child(endless(spec)) as job:
        job.wait_for(lambda event: event.kind == "progress")
        job.write_line('{"command":"cancel"}')
        outcome = job.wait()
    assert outcome.code == 0
    assert outcome.events[-1] == Cancelled()
    assert "saved" not in outcome.kinds()
    assert not spec.output.exists()


def test_a_cancel_before_training_takes_effect(spec: UnlearnSpec) -> None:
    with child(spec) as job:
        job.write_line("this is no command")
        job.write_line('{"command":"cancel"}')
        outcome = job.wait()
    assert outcome.code == 0
    assert outcome.events[-1] == Cancelled()
    assert "progress" not in outcome.kinds()


def test_a_child_ends_when_its_parent_closes_the_pipe(spec: UnlearnSpec) -> None:
    with child(endless(spec)) as job:
        job.wait_for(lambda event: event.kind == "progress")
        job.close_stdin()
        closed = time.monotonic()
        outcome = job.wait()
        assert time.monotonic() - closed < 60
    assert outcome.code == 4
    assert outcome.kinds()[-1] in ("progress", "curve")


def test_closing_the_pipe_after_the_last_event_changes_nothing(spec: UnlearnSpec) -> None:
    lingering_child = (
        "import os, time\n"
        "from core.pipeline.channel import Channel\n"
        "from core.schema.events import Done\n"
        "channel = Channel()\n"
        "channel.read_spec()\n"
        "channel.listen()\n"
        "channel.emit(Done(outcome=None))\n"
        "time.sleep(2)\n"
        "os._exit(0)\n"
    )
    with child(spec, [sys.executable, "-c", lingering_child]) as job:
        job.wait_for(lambda event: isinstance(event, Done))
        job.close_stdin()
        assert job.wait().code == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the parent-death signal is Linux's")
def test_a_child_dies_with_its_parent_even_where_the_pipe_stays_open(spec: UnlearnSpec) -> None:
    parent = f"import subprocess; subprocess.Popen({COMMAND!r}).wait()"
    with child(endless(spec), [sys.executable, "-c", parent]) as job:
        job.wait_for(lambda event: event.kind == "progress")
        job.process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        # the child's standard output ends with it
        assert job.wait().code == -signal.SIGKILL
        assert time.monotonic() - killed < 60


def test_a_directory_without_a_model_is_the_users_error(spec: UnlearnSpec, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    outcome = run(spec.model_copy(update={"directory": tmp_path / "empty"}))
    assert outcome.code == 3
    assert error(outcome).code == "model_unreadable"
    assert error(outcome).blame == "user"
    assert str(tmp_path) not in error(outcome).message


def test_an_invalid_spec_is_refused_before_loading(spec: UnlearnSpec) -> None:
    line = spec.model_dump_json().replace('"version":1', '"version":9')
    outcome = run(line, COMMAND)
    assert outcome.code == 3
    assert outcome.kinds() == ["failed"]
    assert error(outcome).code == "bad_spec"
    assert "version" in error(outcome).message


@pytest.mark.parametrize(
    ("method", "named"),
    [
        (ChildMethod(name="calibrated", parameters={"retain_wait": 1}), "retain_wait"),
        (ChildMethod(name="forget_it_all", parameters={}), "forget_it_all"),
    ],
)
def test_a_mistake_in_the_method_is_named(spec: UnlearnSpec, method: ChildMethod, named: str) -> None:
    outcome = run(spec.model_copy(update={"method": method}))
    assert outcome.code == 3
    assert error(outcome).code == "bad_method"
    assert named in error(outcome).message


def test_a_bad_line_is_named_by_number_and_never_quoted(spec: UnlearnSpec, tmp_path: Path) -> None:
    (tmp_path / "forget.jsonl").write_text('{"text": "fine"}\n{"text": "Zubrimoth", "colour": "Qwyxcanary"}\n')
    outcome = run(spec.model_copy(update={"records": FileRecords(forget=tmp_path / "forget.jsonl")}))
    assert outcome.code == 3
    assert error(outcome).code == "bad_record"
    assert "line 2" in error(outcome).message
    assert "Zubrimoth" not in outcome.stdout + outcome.stderr
    assert "Qwyxcanary" not in outcome.stdout + outcome.stderr


def test_records_come_over_the_socket_for_the_token(spec: UnlearnSpec, tiny_model: TinyModel, tmp_path: Path) -> None:
    lines = [
        RecordSet(name=name, records=records).model_dump_json().encode() + b"\n"
        for name, records in tiny_model.sets.items()
    ]
    source = SocketRecords(path=tmp_path / "s", token="once-only")
    measuring = MeasureSpec.from_spec(spec, records=source)
    with record_server(tmp_path / "s", "once-only", lines) as tokens:
        outcome = run(measuring)
    assert outcome.code == 0, outcome.stderr
    assert tokens == [b"once-only"]
    (measured,) = (event for event in outcome.events if isinstance(event, Measured))
    assert set(measured.measurements.sets) == {"forget", "retain", "unseen"}


def test_an_unexpected_error_is_reported_by_its_class_without_its_text(spec: UnlearnSpec, tmp_path: Path) -> None:
    source = SocketRecords(path=tmp_path / "s", token="once-only")
    with record_server(tmp_path / "s", "once-only", [b'{"name": "forget", "records": "Zubrimoth"}\n']):
        outcome = run(spec.model_copy(update={"records": source}))
    assert outcome.code == 1
    assert error(outcome).code == "internal"
    assert error(outcome).blame == "service"
    assert "ValidationError" in error(outcome).message
    assert "in fetch" in outcome.stderr
    assert "Zubrimoth" not in outcome.stdout + outcome.stderr


def test_a_missing_record_server_is_a_retryable_error(spec: UnlearnSpec, tmp_path: Path) -> None:
    outcome = run(spec.model_copy(update={"records": SocketRecords(path=tmp_path / "none", token="t")}))
    assert outcome.code == 3
    assert error(outcome).code == "records_unavailable"
    assert error(outcome).retryable


def test_an_empty_forget_set_is_refused(spec: UnlearnSpec, tiny_model: TinyModel) -> None:
    outcome = run(spec.model_copy(update={"records": FileRecords(retain=[tiny_model.files["retain"]])}))
    assert error(outcome).code == "empty_forget_set"


def test_prints_of_libraries_do_not_get_between_the_events(spec: UnlearnSpec) -> None:
    printing_child = (
        "import os, core.pipeline.__main__ as pipeline\n"
        "from core.pipeline.channel import Channel\n"
        "listen = Channel.listen\n"
        "def loud(self, **arguments):\n"
        "    print('a library says hello', flush=True)\n"
        "    os.write(1, b'and so does its C code\\n')\n"
        "    listen(self, **arguments)\n"
        "Channel.listen = loud\n"
        "os._exit(pipeline.main())\n"
    )
    measuring = MeasureSpec.from_spec(spec)
    with child(measuring, [sys.executable, "-c", printing_child]) as job:
        outcome = job.wait()
    assert outcome.events[-1] == Done(outcome=None)
    assert "a library says hello" in outcome.stderr
    assert "and so does its C code" in outcome.stderr


def test_out_of_memory_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 58)
    assert out_of_memory(caught.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(MemoryError())
    assert not out_of_memory(RuntimeError("shapes do not match"))
    assert not out_of_memory(ValueError("not enough memory"))


def test_importing_the_child_does_not_load_torch() -> None:
    code = "import core.pipeline.__main__, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
