"""Logs: one JSON object a line on standard error. What is logged is named where it is logged; bodies never are."""

import json
import logging
import sys
from typing import TextIO, cast

import structlog


class LossyStream:
    """Text to a stream that may fail, such as a file on a full disk: a request does not fail for want of its log line.

    Once the stream takes text again, it is told how many lines were lost.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = 0

    def write(self, text: str) -> int:
        """Writes and flushes; a stream that fails loses the text, which is counted."""
        try:
            if self._lost:
                self._stream.write(
                    json.dumps({"event": "log_lines_lost", "level": "error", "lines": self._lost}) + "\n"
                )
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._lost += 1
        else:
            self._lost = 0
        return len(text)

    def flush(self) -> None:
        """Does nothing: `write` has flushed."""


def configure(level: str) -> None:
    """Sets up structlog for this process and quiets uvicorn's own access log, which shows queries."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, LossyStream(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    logging.getLogger("uvicorn.access").disabled = True
