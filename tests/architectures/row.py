"""The results for one variant of an architecture: a row of the table."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Status = Literal["exact", "refused", "off", "crashed", "not built"]


@dataclass
class Row:
    """Figures are None, and a step's text is empty, where the step was not made; else the text is its outcome."""

    name: str
    label: str
    architecture: str
    status: Status = "exact"
    how: str = ""
    log_probability: float | None = None
    gradient: float | None = None
    continuation: str = ""
    job: str = ""
    export5: str = ""
    export4: str = ""
    adapter: str = ""
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def title(self) -> str:
        return f"{self.name} {self.label}".strip()

    @property
    def failed(self) -> bool:
        return self.status in ("off", "crashed")

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def fail(self, status: Literal["off", "crashed"], text: str) -> None:
        """Notes a failure; the first failure becomes the row's status."""
        if not self.failed:
            self.status = status
        self.note(text)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
