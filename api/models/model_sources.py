"""Where the files of a model that is to be registered lie."""

from pathlib import Path

from core.schema.model_files import UnusableModel


def directory_of(source: str, roots: list[Path]) -> tuple[Path, Path]:
    """The directory that a source names, and the allowed root above it, both without links. Raises UnusableModel.

    What lies outside of the roots and what does not exist are one answer: nobody learns what the server has.
    """
    try:
        directory = Path(source).resolve() if Path(source).is_absolute() else None
    except (OSError, ValueError, RuntimeError):
        directory = None
    for root in roots:
        resolved = root.resolve()
        if directory is not None and directory.is_relative_to(resolved) and _is_directory(directory):
            return directory, resolved
    raise UnusableModel("no-such-directory", "this is not a directory under the roots that the operator allows")


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, or a place that this process may not look into
        return False
