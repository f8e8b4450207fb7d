"""`unlearn measure` on a directory: the figures of a job again, and clear errors."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from api.cli.app import app
from core.schema.default_policy import DEFAULT_POLICY
from core.schema.events import Failed, Judged, Measured, Warned
from core.schema.job_spec import ChildMethod, FileRecords, MeasureSpec, UnlearnSpec
from core.schema.model_shape import read_shape
from core.schema.training import Lora, TrainingRequest
from core.unlearning.objectives import fill_training
from tests.integration.pipeline.child import run
from tests.tiny_model import REPOSITORY, TinyModel

WIDE = {"COLUMNS": "200"}
TIMES = {"seconds", "seconds_of"}


def options(tiny_model: TinyModel) -> list[str]:
    return [part for name, file in tiny_model.files.items() for part in (f"--{name}", str(file))]


def test_the_figures_of_a_job_are_reproduced_to_the_last_digit_from_its_checkpoint(
    spec: UnlearnSpec, tiny_model: TinyModel, tmp_path: Path
) -> None:
    shape = read_shape(tiny_model.directory, root=tiny_model.directory)
    # neither the chunk length nor the seed of training is used for measuring: in so short chunks nothing is recalled
    request = TrainingRequest(epochs=1, learning_rate=1e-3, max_length=16, seed=3)
    training = fill_training(request, "calibrated", parameters=shape.parameters, forget_records=8)
    outcome = run(spec.model_copy(update={"training": training, "policy": DEFAULT_POLICY, "measure": ["standard"]}))
    assert outcome.code == 0, outcome.stderr
    before, after = [event.measurements for event in outcome.events if isinstance(event, Measured)]
    assert before.sets["forget"]["extraction_strength"].value > 0.5

    report = tmp_path / "report.json"
    arguments = ["measure", str(spec.output), *options(tiny_model), "--threads", "1", "--json", str(report)]
    arguments += ["--before", str(tiny_model.directory), "--policy", "default"]
    # in a process of its own, to see its modules afterwards
    program = "import sys; from api.cli.app import app; app(standalone_mode=False); assert 'torch' not in sys.modules"
    finished = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env={**os.environ, **WIDE, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    written = json.loads(report.read_text())
    for name, measured in (("before", before), ("measurements", after)):
        figures = {key: value for key, value in written[name].items() if key not in TIMES}
        assert figures == measured.model_dump(mode="json", exclude=TIMES)
    assert {name: written["training"][name] for name in ("max_length", "chat", "seed")} == {
        "max_length": shape.context,
        "chat": "auto",
        "seed": 0,
    }
    (judgement,) = [event.judgement for event in outcome.events if isinstance(event, Judged)]
    assert written["judgement"] == judgement.model_dump(mode="json")
    assert f"policy default: {judgement.verdict.replace('_', ' ')}" in finished.stdout
    assert [file["name"] for file in written["data"]] == ["forget", "retain", "unseen"]

    forget = after.sets["forget"]["perplexity"]
    *_, row = [line for line in finished.stdout.splitlines() if line.startswith("perplexity ") and "]" in line][:2]
    assert f"{forget.value:.4g} [{forget.low:.4g}, {forget.high:.4g}]" in row
    attacks = [line for line in finished.stdout.splitlines() if line.startswith("loss ")]
    assert any(f"{after.attacks['loss'].auc.value:.4g} [" in line for line in attacks)
    assert [line.strip() for line in finished.stderr.splitlines()][:3] == [
        "loading",
        "measuring the models to compare with",
        "measuring",
    ]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks
def test_the_figures_of_an_adapter_delivered_alone_are_reproduced_on_its_base(
    spec: UnlearnSpec, tiny_model: TinyModel, tmp_path: Path
) -> None:
    training = spec.training.model_copy(update={"lora": Lora(rank=4), "learning_rate": 3e-3, "max_length": 512})
    changes = {"training": training, "deliver": "adapter", "measure": ["likelihood", "change"]}
    outcome = run(spec.model_copy(update={**changes, "method": ChildMethod(name="gradient_ascent", parameters={})}))
    assert outcome.code == 0, outcome.stderr
    before, after = [event.measurements for event in outcome.events if isinstance(event, Measured)]
    assert after.sets["forget"]["perplexity"].value > 1.1 * before.sets["forget"]["perplexity"].value

    report = tmp_path / "report.json"
    arguments = ["measure", str(spec.output), *options(tiny_model), "--threads", "1", "--json", str(report)]
    arguments += ["--measure", "likelihood", "--measure", "change"]
    without_base = CliRunner().invoke(app, arguments, env=WIDE)
    assert without_base.exit_code == 2
    assert "with --before" in without_base.output
    finished = CliRunner().invoke(app, [*arguments, "--before", str(tiny_model.directory)], env=WIDE)
    assert finished.exit_code == 0, finished.output
    assert "model FLOPs (share of a retraining unknown)" in finished.output
    written = json.loads(report.read_text())
    assert written["cost"]["retraining_share"] is None
    assert (
        written["cost"]["flops"]["measuring_after"] > written["cost"]["flops"]["measuring_before"]
    )  # the adapter costs more
    for name, measured in (("before", before), ("measurements", after)):
        figures = {key: value for key, value in written[name].items() if key not in TIMES}
        assert figures == measured.model_dump(mode="json", exclude=TIMES)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--measure", "vibes"], "there is no measurement 'vibes'"),
        (["--measure", '{"name": "likelihood", "records": 0}'], "Likelihood, records"),
        (["--measure", '{"seconds": 1}'], 'JSON with a "name"'),
        (["--max-length", "4096"], "the model's context is"),
        (["--policy", "no-such-file"], "neither 'default' nor a file"),
        (["--unseen", __file__], "ends in none of .jsonl"),
    ],
)
def test_a_wrong_option_is_reported_before_measuring(tiny_model: TinyModel, more: list[str], words: str) -> None:
    arguments = ["measure", str(tiny_model.directory), "--forget", str(tiny_model.files["forget"]), *more]
    answer = CliRunner().invoke(app, arguments, env=WIDE)
    assert answer.exit_code == 2
    assert words in answer.output


def test_measuring_needs_records_and_models_of_one_vocabulary(tiny_model: TinyModel, tmp_path: Path) -> None:
    without_records = CliRunner().invoke(app, ["measure", str(tiny_model.directory)], env=WIDE)
    assert without_records.exit_code == 2
    assert "name at least one file of records" in without_records.output
    other = tmp_path / "other"
    other.mkdir()
    for file in tiny_model.directory.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"vocab_size": config["vocab_size"] + 1}))
    forget = ["--forget", str(tiny_model.files["forget"])]
    arguments = ["measure", str(tiny_model.directory), *forget, "--retrained-model", str(other)]
    answer = CliRunner().invoke(app, arguments, env=WIDE)
    assert answer.exit_code == 2
    assert "another vocabulary" in answer.output


def test_a_bad_line_is_named_by_number_without_its_text(tiny_model: TinyModel, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "fine"}\n{"txt": "zq-canary"}\n')
    answer = CliRunner().invoke(app, ["measure", str(tiny_model.directory), "--forget", str(bad)], env=WIDE)
    assert answer.exit_code == 1
    assert "bad.jsonl, line 2" in answer.output
    assert "zq-canary" not in answer.output


def test_records_without_a_token_to_score_are_left_out_of_measuring_and_refused_for_training(
    spec: UnlearnSpec, tiny_model: TinyModel, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"  # a tokenizer without a first token: a text of one token has no scored token
    shutil.copytree(tiny_model.directory, bare)
    tokenizer = json.loads((bare / "tokenizer.json").read_text())
    (bare / "tokenizer.json").write_text(json.dumps(tokenizer | {"post_processor": None}))
    forget, unseen = tmp_path / "forget.jsonl", tmp_path / "unseen.jsonl"
    forget.write_text(tiny_model.files["forget"].read_text() + '{"text": "q"}\n')
    unseen.write_text('{"text": "x"}\n{"text": "y"}\n')
    records = FileRecords(forget=forget, retain=[tiny_model.files["retain"]], unseen=unseen)
    changes = {"directory": bare, "records": records, "measure": ["likelihood", "membership"]}
    spec = spec.model_copy(update=changes)
    measured = run(MeasureSpec.from_spec(spec))
    assert measured.code == 0, measured.stderr
    (message,) = [event.message for event in measured.events if isinstance(event, Warned)]
    assert message == "; ".join(
        f"{name}: 1 record has no token to score and is not measured" for name in ("forget", "unseen")
    )
    (figures,) = [event.measurements for event in measured.events if isinstance(event, Measured)]
    assert figures.sets["forget"]["perplexity"].records == len(tiny_model.sets["forget"])
    assert figures.attacks == {}
    assert any("membership" in warning and "unseen" in warning for warning in figures.warnings)
    trained = run(spec)
    assert trained.code == 3
    (failed,) = [event for event in trained.events if isinstance(event, Failed)]
    assert failed.error.code == "no_scored_tokens"
    assert failed.error.message.startswith("forget: record 9 is too short to train on")
