"""What the benchmark of methods found: one result for each row and seed."""

from dataclasses import dataclass
from typing import Any

from core.schema.evaluation import Measurements

ORIGINAL, RETRAINED = "the original", "retrained without the forget set"


@dataclass(frozen=True)
class Result:
    """What came of one row for one seed; `failure` where the child ended otherwise than with `done`."""

    label: str
    measurements: Measurements | None
    seconds: dict[str, float]
    peak_host_bytes: int
    failure: str | None = None

    def stored(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "measurements": self.measurements and self.measurements.model_dump(mode="json"),
            "seconds": self.seconds,
            "peak_host_bytes": self.peak_host_bytes,
            "failure": self.failure,
        }

    @classmethod
    def of(cls, stored: dict[str, Any]) -> "Result":
        found = stored["measurements"]
        return cls(**(stored | {"measurements": Measurements.model_validate(found) if found else None}))
