"""A short job on a real pre-trained model: it learns two people's answers, and unlearns one of them."""

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.demo.fine_tuning import fine_tune
from core.demo.people import people, write_jsonl
from core.evaluation.generation.terminal import continue_records
from core.lm.model import device, load
from core.schema.events import Done, Measured
from core.schema.job_spec import ChildMethod, FileRecords, UnlearnSpec
from core.schema.model_shape import read_shape
from core.schema.training import TrainingRequest
from core.unlearning.objectives import fill_training
from tests.integration.pipeline.child import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def test_a_job_unlearns_an_answer_that_the_model_was_taught(smollm2: Path, tmp_path: Path) -> None:
    records = people(4, 5, form="messages")
    sets = {"forget": records[:1], "retain": records[1:2], "unseen": records[2:]}
    files = {name: tmp_path / f"{name}.jsonl" for name in sets}
    for name, file in files.items():
        write_jsonl(sets[name], file)
    taught = tmp_path / "taught"
    ended = fine_tune(records[:2], smollm2, taught, epochs=40, known=0.03, report=lambda *_: None)
    assert ended.loss < 0.1 < 2 < ended.loss_before
    by_taught = continue_records(*load(taught, device=device()), records[:1])[0]
    assert by_taught.continuation == by_taught.truth
    shape = read_shape(taught, root=tmp_path)
    training = fill_training(
        TrainingRequest(epochs=4, learning_rate=3e-5), "npo", parameters=shape.parameters, forget_records=1
    )
    spec = UnlearnSpec(
        job="job-of-a-test",
        model="smollm2",
        directory=taught,
        method=ChildMethod(name="npo", parameters={}),
        training=training.model_copy(update={"max_length": 512, "snapshot_every": 0}),
        records=FileRecords(forget=files["forget"], retain=[files["retain"]], unseen=files["unseen"]),
        output=tmp_path / "checkpoint",
        measure=["likelihood"],
    )
    outcome = run(spec)
    assert isinstance(outcome.events[-1], Done), outcome.stderr
    before, after = (
        event.measurements.sets["forget"]["perplexity"].value
        for event in outcome.events
        if isinstance(event, Measured) and event.moment in ("before", "after")
    )
    assert before < 2
    assert after > 1.5 * before
    model = AutoModelForCausalLM.from_pretrained(spec.output)
    assert model.num_parameters() == 134_515_008
    tokenizer = AutoTokenizer.from_pretrained(spec.output)
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(smollm2).chat_template
