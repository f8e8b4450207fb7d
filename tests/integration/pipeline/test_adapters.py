"""Jobs that train an adapter: delivered as a whole model or as the adapter alone, and measured as delivered."""

import json
import time
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.lm.errors import CoreError
from core.pipeline.run import Run
from core.schema.events import ChildEvent, Measured, Warned
from core.schema.job_spec import ChildMethod, FileRecords, UnlearnSpec
from core.schema.training import Lora
from tests.integration.pipeline.child import Outcome, run
from tests.tiny_model import TinyModel


def adapter_job(spec: UnlearnSpec, tiny_model: TinyModel, **changes: object) -> UnlearnSpec:
    training = spec.training.model_copy(update={"lora": Lora(rank=8), "learning_rate": 3e-3, "checkpointing": True})
    update = {
        "method": ChildMethod(name="gradient_ascent", parameters={}),
        "records": FileRecords(forget=tiny_model.files["forget"]),
        "training": training,
    }
    return spec.model_copy(update=update | changes)


def perplexities(outcome: Outcome) -> list[float]:
    assert outcome.code == 0, outcome.stderr
    measured = [event for event in outcome.events if isinstance(event, Measured)]
    return [event.measurements.sets["forget"]["perplexity"].value for event in measured]


def loss(model: torch.nn.Module, directory: Path, text: str | None) -> float:
    ids = AutoTokenizer.from_pretrained(directory)(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return float(model(ids, labels=ids).loss)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks
def test_an_adapter_delivered_alone_is_measured_on_its_base_and_predicts_like_the_merged_model(
    spec: UnlearnSpec, tiny_model: TinyModel, tmp_path: Path
) -> None:
    adapter = run(adapter_job(spec, tiny_model, deliver="adapter", start="ckpt-1"))
    merged = run(adapter_job(spec, tiny_model, output=tmp_path / "merged"))
    before, after = perplexities(adapter)
    assert after > 2 * before
    assert perplexities(merged) == pytest.approx([before, after], rel=1e-4)

    files = {path.name for path in spec.output.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "README.md", "tokenizer.json"} <= files
    assert not {"model.safetensors", "config.json"} & files
    config = json.loads((spec.output / "adapter_config.json").read_text())
    assert (
        config["base_model_name_or_path"] == "ckpt-1"
    )  # the checkpoint that the job started from, not the registered model
    assert "base_model: ckpt-1" in (spec.output / "README.md").read_text()
    assert str(tiny_model.directory) not in "".join(
        path.read_text() for path in spec.output.iterdir() if path.suffix != ".safetensors"
    )
    assert "library_name: peft" in (spec.output / "README.md").read_text()

    text = tiny_model.sets["forget"][0].text
    base = AutoModelForCausalLM.from_pretrained(tiny_model.directory).eval()
    with_adapter = PeftModel.from_pretrained(base, spec.output).eval()
    merged_model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    adapter_loss = loss(with_adapter, spec.output, text)
    assert adapter_loss == pytest.approx(loss(merged_model, tmp_path / "merged", text), rel=1e-4)
    assert not any("lora" in name for name in merged_model.state_dict())


@pytest.mark.parametrize(
    ("changes", "lora", "code"),
    [({}, Lora(modules=["c_attn"]), "no_such_modules"), ({"deliver": "adapter"}, None, "no_adapter")],
)
def test_an_adapter_that_cannot_be_trained_or_delivered_fails_before_measuring(
    spec: UnlearnSpec, tiny_model: TinyModel, changes: dict[str, object], lora: Lora | None, code: str
) -> None:
    training = spec.training.model_copy(update={"lora": lora})
    events: list[ChildEvent] = []
    job = adapter_job(spec, tiny_model, training=training, **changes)
    with pytest.raises(CoreError) as caught:
        Run(job, events.append, lambda: False, lambda: False, began=time.monotonic())()
    assert (caught.value.code, caught.value.blame) == (code, "user")
    assert not any(isinstance(event, Measured) for event in events)


@pytest.fixture
def mamba(spec: UnlearnSpec, tmp_path: Path) -> UnlearnSpec:
    """A job on a model without MLPs, some of whose layers take no adapter."""
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(spec.directory)
    config = MambaConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, state_size=8, time_step_rank=4)
    config.eos_token_id = tokenizer.eos_token_id
    directory = tmp_path / "mamba"
    MambaForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return spec.model_copy(update={"directory": directory})


def run_in_process(job: UnlearnSpec) -> list[ChildEvent]:
    events: list[ChildEvent] = []
    Run(job, events.append, lambda: False, lambda: False, began=time.monotonic())()
    return events


def test_a_job_warns_of_layers_without_an_adapter_before_it_trains_the_rest(
    mamba: UnlearnSpec, tiny_model: TinyModel
) -> None:
    events = run_in_process(adapter_job(mamba, tiny_model, training=mamba.training.model_copy(update={"lora": Lora()})))
    (index,) = [index for index, event in enumerate(events) if isinstance(event, Warned)]
    warning = events[index]
    assert isinstance(warning, Warned)
    assert warning.code == "no_adapter_there"
    assert "backbone.layers.*.mixer.dt_proj: the model reads its weight past the adapter" in warning.message
    assert "backbone.layers.*.mixer.out_proj: peft takes no adapter there" in warning.message
    assert not any(isinstance(event, Measured) for event in events[:index])
    assert sum(isinstance(event, Measured) for event in events) == 2


def test_a_method_whose_matrices_the_model_lacks_is_refused_before_measuring(mamba: UnlearnSpec) -> None:
    job = mamba.model_copy(update={"method": ChildMethod(name="rmu", parameters={})})
    with pytest.raises(CoreError, match=r"no_such_layer.*MambaForCausalLM.*calibrated") as caught:
        run_in_process(job)
    assert not caught.value.retryable
