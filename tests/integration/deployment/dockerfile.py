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
    """All of them, in order."""
    text = "\n".join(line for line in FILE.read_text().splitlines() if not line.lstrip().startswith("#"))
    found, stage = [], ""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if not line.strip():
            continue
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            stage = rest.split()[-1]
        found.append(Instruction(stage, word, rest))
    return found


def environment() -> dict[str, str]:
    """What the image's own environment adds to a service's."""
    lines = [one.rest for one in instructions() if one.stage == "runtime" and one.word == "ENV"]
    return dict(pair.split("=", 1) for line in lines for pair in shlex.split(line))
