"""The demo's options: wrong ones are refused before anything is started."""

from pathlib import Path

from typer.testing import CliRunner

from api.cli.app import app


def demo(data: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["demo", "--data", str(data), *arguments], env={"COLUMNS": "200"})
    return done.exit_code, done.output


def test_a_source_that_holds_no_model_is_reported_with_the_forms_that_are_read(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    for source in (tmp_path, tmp_path / "notes.txt"):
        code, output = demo(tmp_path / "data", "--real", "--model-source", str(source))
        assert code == 1
        assert "the demo failed:" in output
        assert "a .gguf file" in output


def test_a_gguf_file_that_cannot_be_read_is_reported_and_leaves_no_model(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"not a model")
    code, output = demo(tmp_path / "data", "--real", "--model-source", str(tmp_path / "broken.gguf"))
    assert code == 1
    assert "reading the pre-trained model: the process ended with code 1" in output
    assert list((tmp_path / "data" / "models" / "demo-real").iterdir()) == []


def test_options_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    code, output = demo(tmp_path / "data", "--model-source", str(tmp_path))
    assert code == 2
    assert "--model-source goes with --real" in output
    code, output = demo(tmp_path / "data", "--real", "--model", str(tmp_path))
    assert code == 2
    assert "choose one" in output
    assert not (tmp_path / "data").exists()
