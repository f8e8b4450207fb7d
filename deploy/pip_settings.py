"""Copies this machine's pip settings for an image build: one pip.conf, and the local folders that it names.

    python3 deploy/pip_settings.py PIP_CONF    writes PIP_CONF, prints the folders and files to mount, one per line

It uses the standard library alone, since it runs before anything is installed.
"""

import ast
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

INDEXES = ("index-url", "extra-index-url")
OPTIONS = (*INDEXES, "find-links", "trusted-host", "cert", "timeout", "default-timeout", "retries")
"""The options about the sources of packages and the way to them. Options about this machine's folders are left out."""


def settings(listing: str) -> dict[str, str]:
    """Reads `pip config list`. The section `install` overrides the global one, the environment overrides both."""
    ranks = {"global": 0, "install": 1, ":env:": 2}
    ranked: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if option in OPTIONS and section in ranks:
            ranked[option] = max(ranked.get(option, (-1, "")), (ranks[section], str(ast.literal_eval(value))))
    return {option: " ".join(value.split()) for option, (_, value) in ranked.items()}


def local_paths(options: dict[str, str]) -> list[Path]:
    """Returns the existing folders and files of this machine that the options name."""
    paths = set()
    for option in (*INDEXES, "find-links", "cert"):
        for word in options.get(option, "").split():
            path = Path(unquote(urlsplit(word).path) if word.startswith("file:") else word)
            # the pages of an index link to files beside the index
            path = path.parent if option in INDEXES and len(path.parts) > 2 else path
            if path.is_absolute() and path.exists():
                paths.add(path)
    return sorted(paths)


def pip_conf(options: dict[str, str]) -> str:
    """Returns the options as a configuration file."""
    return "\n".join(["[global]", *(f"{option} = {value}" for option, value in sorted(options.items())), ""])


def main() -> None:
    """Reads the settings of this Python's pip, from all its files and the environment, and writes them."""
    argv = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(argv, check=True, capture_output=True, text=True).stdout  # noqa: S603 - constant arguments
    options = settings(listing)
    Path(sys.argv[1]).write_text(pip_conf(options))
    for path in local_paths(options):
        print(path)


if __name__ == "__main__":
    main()
