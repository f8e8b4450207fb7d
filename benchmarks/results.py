"""Results of the benchmark of methods: one for each row and seed."""

from dataclasses import dataclass
from typing import Any

from core.schema.evaluation import Measurements

ORIGINAL, RETRAINED = "the original", "retrained without the forget set"


@dataclass(frozen=True)
class Result:
    """The result of a row for a seed; `failure`: why the child did not end with `done`."""

    label: str
    measurements: Measurements | None
    seconds: dict[str, float]
    peak_host_bytes: int
    failure: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "measurements": self.measurements and self.measurements.model_dump(mode="json"),
            "seconds": self.seconds,
            "peak_host_bytes": self.peak_host_bytes,
            "failure": self.failure,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Result":
        measurements = stored["measurements"]
        return cls(**(stored | {"measurements": Measurements.model_validate(measurements) if measurements else None}))
