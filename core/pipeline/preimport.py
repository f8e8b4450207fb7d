"""What a job is computed with, imported: seconds of work that is the same for every job, and needs none of it."""

import contextlib
import gc
import importlib
import importlib.util
from collections.abc import Iterator

ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "phi3")
"""Models whose classes a child that waits has at hand. transformers imports the others when it meets them."""


@contextlib.contextmanager
def without_gc() -> Iterator[None]:
    """Imports without garbage collection, which takes a quarter of their time and finds next to nothing.

    What was imported is then left out of every later collection, too: it lives as long as the process.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def import_all() -> None:
    """Imports what a job may need, as far as it is installed, besides what every job needs."""
    importlib.import_module("core.pipeline.run")
    names = ["accelerate", "peft", *(f"transformers.models.{one}.modeling_{one}" for one in ARCHITECTURES)]
    for name in names:
        if installed(name):
            importlib.import_module(name)


def installed(name: str) -> bool:
    """Whether there is such a module; imports the packages that it would be in."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of its package
        return False
