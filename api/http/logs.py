"""Logs: one JSON object per line on standard error, never with the body of a request."""

import json
import logging
import sys
from typing import TextIO, cast

import structlog


class LossyStream:
    """Writes to a stream that may fail, such as a file on a full disk, without failing the request that logs.

    Once the stream takes text again, a line tells how many lines were lost.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = 0

    def write(self, text: str) -> int:
        """Writes and flushes. Where the stream fails, the text is lost and counted."""
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
