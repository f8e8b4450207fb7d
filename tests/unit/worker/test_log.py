"""Log lines about errors, and the text that they leave out."""

import json
import logging
import sys

from worker.log import JsonLines, traceback_frames

SECRET = "the text of a record"


def format_line(**extra: object) -> dict[str, object]:
    record = logging.LogRecord("unlearn.worker", logging.INFO, __file__, 1, "attempt %s", ("begins",), None)
    vars(record).update(extra)
    line: dict[str, object] = json.loads(JsonLines().format(record))
    return line


def test_a_line_is_one_object_with_its_extras() -> None:
    line = format_line(job="job-1", gpus=(0, 1))
    assert (line["event"], line["level"], line["job"], line["gpus"]) == ("attempt begins", "info", "job-1", [0, 1])


def test_an_error_is_logged_as_class_and_frames_never_as_text() -> None:
    def failing_function() -> None:
        raise ValueError(SECRET)

    try:
        failing_function()
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "broke off", (), sys.exc_info())
    text = JsonLines().format(record)
    line = json.loads(text)
    assert line["error"] == "ValueError"
    assert line["frames"][-1].endswith(" failing_function")
    assert SECRET not in text


def test_of_standard_error_only_frames_and_classes_are_returned() -> None:
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


def test_bytes_that_are_not_text_are_accepted() -> None:
    assert traceback_frames(b'\xff\xfe\n  File "\xff.py", line 1, in x\n') == ["\ufffd.py:1 x"]
