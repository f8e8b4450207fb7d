"""The worker's log: JSON lines on standard error, with an error's class and its place in the code, never its text."""

import json
import logging
import re
import traceback
from datetime import UTC, datetime

LOGGER = "unlearn.worker"
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}
_FRAME = re.compile(rb'^\s*File "([^"\n]+)", line (\d+),? in (\S+)')
_CLASS = re.compile(rb"^([A-Za-z_][A-Za-z0-9_.]*(?:Error|Exception|Interrupt|Exit|Warning))(?::|\s*$)")
_FRAMES = 12


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object in a line: time, level, logger, event, and the fields of `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS}
        if record.exc_info and record.exc_info[1] is not None:
            line |= error_fields(record.exc_info[1])
        return json.dumps(line, default=str, ensure_ascii=False)


def error_fields(error: BaseException) -> dict[str, object]:
    """Returns the error's class and its innermost frames. The error's text may quote a record, so it is left out."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return {
        "error": type(error).__qualname__,
        "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


def traceback_frames(stderr: bytes) -> list[str]:
    """Returns the tracebacks' frames and the errors' classes in a child's standard error, and nothing else of it."""
    frames = []
    for line in stderr.splitlines():
        if frame := _FRAME.match(line):
            path, number, name = (part.decode(errors="replace") for part in frame.groups())
            frames.append(f"{path}:{number} {name}")
        elif error := _CLASS.match(line):
            frames.append(error[1].decode())
    return frames[-_FRAMES:]


def configure(level: str) -> None:
    """Sends this process's log to standard error, without Celery's lines about tasks: the jobs' own say more."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    for name in ("celery.worker.strategy", "celery.app.trace", "kombu"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
