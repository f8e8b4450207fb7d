"""Sources of models: directories below the operator's roots, and Hub repositories on the operator's list."""

from pathlib import Path

from api.models.hub import PREFIX, Repository, fetch_repository
from core.schema.model_files import UnusableModel, refuse_links_outside
from core.schema.model_shape import holds_adapter, read_shape
from core.schema.models import ModelShape
from core.settings import Settings


def check_source(source: str, settings: Settings) -> tuple[Path, ModelShape] | None:
    """Checks a source before its registration is queued; returns a model's directory and shape.

    Returns None for a Hub repository, which must be fetched first, and for an adapter, which must be merged first.

    Blocks: reads headers from disk. Raises UnusableModel.
    """
    if source.startswith(PREFIX):
        if not Repository.parse(source).is_allowed(settings.hub_allow):
            raise UnusableModel("not-allowed", "the operator's list of Hub repositories (HUB_ALLOW) does not have it")
        return None
    directory, root = find_directory(source, settings.model_roots)
    try:
        if holds_adapter(directory):
            refuse_links_outside(directory, root)
            return None
        return directory, read_shape(directory, root=root)
    except (OSError, RuntimeError):  # circular links are a RuntimeError until Python 3.13
        raise UnusableModel("model-incomplete", "the service cannot read a file of the directory") from None


def fetch_source(source: str, settings: Settings) -> tuple[Path, Path, str | None]:
    """Returns the source's directory, the folder that its links may not leave, and a repository's commit.

    Blocks: downloads a repository. Raises UnusableModel.
    """
    if source.startswith(PREFIX):
        directory, commit = fetch_repository(Repository.parse(source), settings)
        return directory.resolve(), settings.model_cache.resolve(), commit
    return *find_directory(source, settings.model_roots), None


def find_directory(source: str, roots: list[Path]) -> tuple[Path, Path]:
    """Returns the directory that a source names and the allowed root above it, with links resolved.

    Raises UnusableModel. A directory outside the roots and a missing directory give the same message, so that nobody
    learns what the server has.
    """
    try:
        directory = Path(source).resolve() if Path(source).is_absolute() else None
    except (OSError, ValueError, RuntimeError):
        directory = None
    for root in roots:
        resolved_root = root.resolve()
        if directory is not None and directory.is_relative_to(resolved_root) and _is_directory(directory):
            return directory, resolved_root
    raise UnusableModel("no-such-directory", "this is not a directory under the roots that the operator allows")


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # the name is too long, or this process may not look into the folder
        return False
