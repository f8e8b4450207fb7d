"""What the log says of errors, and what it keeps to itself."""

import json
import logging
import sys

from worker.log import JsonLines, traceback_frames

SECRET = "the text of a record"


def line(**extra: object) -> dict[str, object]:
    record = logging.LogRecord("unlearn.worker", logging.INFO, __file__, 1, "attempt %s", ("begins",), None)
    vars(record).update(extra)
    made: dict[str, object] = json.loads(JsonLines().format(record))
    return made


def test_a_line_is_one_object_with_its_extras() -> None:
    made = line(job="job-1", gpus=(0, 1))
    assert (made["event"], made["level"], made["job"], made["gpus"]) == ("attempt begins", "info", "job-1", [0, 1])


def test_an_error_is_its_class_and_its_place_never_its_text() -> None:
    def where() -> None:
        raise ValueError(SECRET)

    try:
        where()
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "broke off", (), sys.exc_info())
    text = JsonLines().format(record)
    made = json.loads(text)
    assert made["error"] == "ValueError"
    assert made["frames"][-1].endswith(" where")
    assert SECRET not in text


def test_of_standard_error_only_frames_and_classes_are_told() -> None:
    stderr = f"""loading {SECRET}
Traceback (most recent call last):
  File "/srv/core/run.py", line 12, in work
    raise KeyError({SECRET!r})
KeyError: '{SECRET}'
Fatal Python error: Segmentation fault
  File "/srv/core/lm.py", line 7 in forward
torch.OutOfMemoryError
{SECRET} Error: x
""".encode()
    assert traceback_frames(stderr) == [
        "/srv/core/run.py:12 work",
        "KeyError",
        "/srv/core/lm.py:7 forward",
        "torch.OutOfMemoryError",
    ]


def test_bytes_that_are_no_text_are_survived() -> None:
    assert traceback_frames(b'\xff\xfe\n  File "\xff.py", line 1, in x\n') == ["\ufffd.py:1 x"]
