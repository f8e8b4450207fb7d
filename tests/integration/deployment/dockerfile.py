"""The Dockerfile's instructions, with continued lines joined and comments left out."""

import re
import shlex
from dataclasses import dataclass

from tests.integration.deployment.compose_file import ROOT

FILE = ROOT / "Dockerfile"


@dataclass(frozen=True)
class Instruction:
    """One instruction, and the stage it belongs to; before the first FROM the stage is empty."""

    stage: str
    word: str
    rest: str


def instructions() -> list[Instruction]:
    """Returns all instructions in order."""
    text = "\n".join(line for line in FILE.read_text().splitlines() if not line.lstrip().startswith("#"))
    parsed, stage = [], ""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if not line.strip():
            continue
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            stage = rest.split()[-1]
        parsed.append(Instruction(stage, word, rest))
    return parsed


def environment() -> dict[str, str]:
    """Returns the environment that the image sets for its services."""
    lines = [line.rest for line in instructions() if line.stage == "runtime" and line.word == "ENV"]
    return dict(pair.split("=", 1) for line in lines for pair in shlex.split(line))
