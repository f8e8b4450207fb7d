"""Carries this machine's pip settings into an image build: one pip.conf, and the local folders that it names.

    python3 deploy/pip_settings.py PIP_CONF    writes PIP_CONF, prints the folders and files to mount, one per line

Standard library only: it runs before anything is installed.
"""

import ast
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

INDEXES = ("index-url", "extra-index-url")
CARRIED = (*INDEXES, "find-links", "trusted-host", "cert", "timeout", "default-timeout", "retries")
"""Where packages come from and how they are reached; nothing of this machine's own layout."""


def settings(listing: str) -> dict[str, str]:
    """What `pip config list` lists: `pip install`'s section goes over the global one, the environment over both."""
    ranks = {"global": 0, "install": 1, ":env:": 2}
    found: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if option in CARRIED and section in ranks:
            found[option] = max(found.get(option, (-1, "")), (ranks[section], str(ast.literal_eval(value))))
    return {option: " ".join(value.split()) for option, (_, value) in found.items()}


def local(carried: dict[str, str]) -> list[Path]:
    """The folders and files of this machine that the settings name, and that exist."""
    paths = set()
    for option in (*INDEXES, "find-links", "cert"):
        for word in carried.get(option, "").split():
            path = Path(unquote(urlsplit(word).path) if word.startswith("file:") else word)
            # an index's pages lead to files that lie beside them
            path = path.parent if option in INDEXES and len(path.parts) > 2 else path
            if path.is_absolute() and path.exists():
                paths.add(path)
    return sorted(paths)


def pip_conf(carried: dict[str, str]) -> str:
    """The same settings as a configuration file."""
    return "\n".join(["[global]", *(f"{option} = {value}" for option, value in sorted(carried.items())), ""])


def main() -> None:
    """Reads what pip of this Python is told, from all its files and the environment together."""
    argv = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(argv, check=True, capture_output=True, text=True).stdout  # noqa: S603 - constant words
    carried = settings(listing)
    Path(sys.argv[1]).write_text(pip_conf(carried))
    for path in local(carried):
        print(path)


if __name__ == "__main__":
    main()
