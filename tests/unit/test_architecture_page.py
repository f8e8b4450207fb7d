"""docs/architecture.md: the files that it names exist, and the optimiser's step is reached within 20 of them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
FILES = re.compile(r"`((?:api|worker|core|benchmarks)/[\w/]+\.py)`")
MOST_FILES = 20
MOST_WORDS = 30


def test_every_file_that_the_page_names_exists() -> None:
    assert [file for file in FILES.findall(PAGE) if not (ROOT / file).is_file()] == []


def test_the_tree_has_a_line_for_every_folder_with_code() -> None:
    tree = PAGE.split("## The tree")[1].split("```")[1]
    listed, parents = set(), list[str]()
    for line in tree.strip().splitlines():
        name = line.split()[0].rstrip("/")
        depth = (len(line) - len(line.lstrip())) // 2
        parents = [*parents[:depth], name]
        listed.add("/".join(parents))
    rooms = ("api", "worker", "core", "migrations", "benchmarks", "deploy")
    folders = {file.parent.relative_to(ROOT).as_posix() for room in rooms for file in (ROOT / room).rglob("*.py")}
    assert folders - listed == set()


def test_the_way_of_a_job_reaches_the_optimiser_within_twenty_files() -> None:
    way = PAGE.split("From the request to the optimiser's step:")[1].split("And back to the user:")[0]
    steps = re.findall(r"^\d+\. `([\w/]+\.py)`", way, flags=re.MULTILINE)
    assert 0 < len(steps) <= MOST_FILES
    assert len(set(steps)) == len(steps)
    assert "optimizer.step()" in (ROOT / "core/unlearning/updater.py").read_text()
    assert {"core/unlearning/trainer.py", "core/unlearning/updater.py"} <= set(steps)


def test_the_glossary_is_short() -> None:
    rows = PAGE.split("## Glossary")[1].split("## ")[0].strip().splitlines()[2:]
    assert 10 < len(rows) <= MOST_WORDS
