"""Prints the OpenAPI document without a running service: `python -m api.document`. The operator's settings do not
change it."""

import json
import sys
from pathlib import Path

from pydantic import SecretStr

from api.main import create_app
from core.settings import Settings


def write_document() -> str:
    """Returns the document as JSON, in the order in which the routes are defined."""
    # no server is asked for the document
    settings = Settings(
        database_url=SecretStr("postgresql+asyncpg://"), redis_url=SecretStr("redis://"), service_key_file=Path("none")
    )
    return json.dumps(create_app(settings).openapi(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # the real standard output has the method
    sys.stdout.write(write_document())
