"""What a check of evidence found: the places that do not hold, and what it did not look at."""

from dataclasses import dataclass, field


@dataclass
class Findings:
    """The result of a check, in sentences for a person."""

    checked: list[str] = field(default_factory=list)
    """What was checked and holds."""
    failures: list[str] = field(default_factory=list)
    """Each place that does not hold, by its name."""
    unchecked: list[str] = field(default_factory=list)
    """What the check did not look at."""

    @property
    def holds(self) -> bool:
        """Whether nothing failed."""
        return not self.failures
