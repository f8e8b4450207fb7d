"""Logs: one JSON object a line on standard error. What is logged is named where it is logged; bodies never are."""

import logging
import sys

import structlog


def configure(level: str) -> None:
    """Sets up structlog for this process and quiets uvicorn's own access log, which shows queries."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.getLogger("uvicorn.access").disabled = True
