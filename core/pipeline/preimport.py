"""Importing the libraries that jobs compute with: seconds of work that are the same for every job."""

import contextlib
import gc
import importlib
import importlib.util
from collections.abc import Iterator

ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "phi3")
"""Architectures whose classes a waiting child imports ahead. transformers imports all others when it needs them."""


@contextlib.contextmanager
def without_gc() -> Iterator[None]:
    """Switches garbage collection off during imports: it takes a quarter of their time and collects next to nothing.

    Afterwards, imported objects are excluded from later collections, since they live as long as the process.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def import_all() -> None:
    """Imports everything that every job needs, and the installed libraries that some jobs need."""
    importlib.import_module("core.pipeline.run")
    names = ["accelerate", "peft", *(f"transformers.models.{name}.modeling_{name}" for name in ARCHITECTURES)]
    for name in names:
        if installed(name):
            importlib.import_module(name)


def installed(name: str) -> bool:
    """Whether the module exists. Imports its parent packages."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a parent package
        return False
