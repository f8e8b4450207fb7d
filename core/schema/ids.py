"""Time-ordered opaque identifiers: a prefix and a UUIDv7 (RFC 9562, section 5.7)."""

import os
import re
import time
import uuid
from datetime import UTC, datetime
from typing import Literal

Prefix = Literal["file", "job", "ckpt", "key", "org", "meas", "attempt", "samples", "delivery"]
ID_PATTERN = re.compile(r"^(file|job|ckpt|key|org|meas|attempt|samples|delivery)-[0-9a-f]{32}$")


def uuid7() -> uuid.UUID:
    """Returns a UUIDv7: 48 bits of milliseconds, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (1 << 48) - 1) << 80
    value |= 0x7 << 76 | (random >> 64 & 0xFFF) << 64
    value |= 0b10 << 62 | random & (1 << 62) - 1
    return uuid.UUID(int=value)


def new_id(prefix: Prefix) -> str:
    """Returns a new identifier such as `job-0190…`. Identifiers sort by time, to the millisecond."""
    return f"{prefix}-{uuid7().hex}"


def id_timestamp(id: str) -> datetime:
    """Returns the time in an identifier's first 48 bits, to the millisecond."""
    return datetime.fromtimestamp(int(id.rpartition("-")[2][:12], 16) / 1000, UTC)
