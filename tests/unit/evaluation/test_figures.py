"""The figures that bounds may name are those that measurements declare, and those that a small context really gives."""

import copy
from itertools import chain

import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.demo.people import general_sentences, people
from core.evaluation.eval_context import EarlierRecords, EvalContext
from core.evaluation.measurement import ProducedFigures
from core.evaluation.measurements import MEASUREMENTS, resolve_measurements
from core.evaluation.record_figures import keep_figures
from core.evaluation.runner import measure_model
from core.schema import figure_names
from core.schema.evaluation import MeasurementChoice, Measurements, SetName
from core.schema.previously_forgotten import EarlierRequest
from core.schema.record import Record
from tests.tiny_model import TinyModel
from tests.unit.evaluation.test_runner import TRAINING

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]

FEW: list[str | MeasurementChoice] = [
    MeasurementChoice.model_validate({"name": name, "records": 3, **more})
    for name, more in {
        "cloze": {},
        "cloze_fill": {},
        "exposure": {"twins": 19},
        "fluency": {},
        "gradnorm": {},
        "paraphrase": {},
        "prefix": {"tokens": 16},
        "quantized": {},
        "relearned": {
            "attacks": list(figure_names.RELEARNING_ATTACK_NAMES),
            "shown": 2,
            "steps": 2,
            "every": 1,
            "learning_rate": 1e-3,
        },
        "sampled_leak": {"tokens": 16},
        "verbatim": {},
        "verbatim_retain": {},
    }.items()
]
CHANGES = {"perplexity_ratio", "accuracy_change", "probability_change", "extraction_strength_change"}
"""What bounds against `before` are judged by: it needs no bound of its own."""


def asked(records: list[Record]) -> list[Record]:
    """The same as questions, in other words too, and with wrong answers."""
    return [
        Record(
            prompt=record.prompt, completion=record.completion, paraphrases=["who, then?"], wrong=["a baker", "nobody"]
        )
        for record in records
    ]


def noisy(loaded: Loaded, seed: int) -> Loaded:
    """Another model, about as good."""
    model, generator = copy.deepcopy(loaded[0]), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 1e-3 * torch.randn(weight.shape, generator=generator)
    return model, loaded[1]


@pytest.fixture(scope="module")
def measured(loaded: Loaded, tiny_model: TinyModel) -> Measurements:
    """A model with everything beside it that can be: all sets, the model that it was made of, and a retrained one."""
    sets: dict[SetName, list[Record]] = {
        "forget": asked(people(12, 60, form="prompt")),
        "unseen": asked(people(12, 61, form="prompt")),
        "retain": asked(people(4, 62, form="prompt")),
        "general": [*general_sentences(3, 0), *asked(people(1, 63, form="prompt"))],
        "probes": asked(people(3, 64, form="prompt")),
        "protected": asked(people(3, 65, form="prompt")),
    }
    thorough = resolve_measurements(["thorough", *FEW])
    retrained, original = (
        EvalContext(lambda seed=seed: noisy(loaded, seed), sets, training=TRAINING, moment=moment)  # type: ignore[misc]
        for seed, moment in ((1, "retrained"), (2, "before"))
    )
    measure_model(retrained, resolve_measurements(FEW[8:9]), model_digest="2" * 64)
    before = measure_model(original, resolve_measurements(["likelihood", *FEW[8:9]]), model_digest="0" * 64)
    (place,) = before.curves["relearned_forget"]
    # a little of what would have been added by unlearning, to be gained back within the few steps
    less = place.figure.model_copy(update={"value": 0.99 * place.figure.value})
    before = before.model_copy(update={"curves": {"relearned_forget": [place.model_copy(update={"figure": less})]}})
    kept = keep_figures(EvalContext(lambda: loaded, {}, training=TRAINING), tiny_model.sets["forget"][:1])
    context = EvalContext(
        lambda: copy.deepcopy(loaded),
        sets,
        training=TRAINING,
        retrained=retrained,
        original=original,
        original_directory=tiny_model.directory,
        earlier=[
            EarlierRecords(
                EarlierRequest(job="job-1", records=1, last_measured="job-1", kept=kept),
                [(0, tiny_model.sets["forget"][0])],
            )
        ],
    )
    return measure_model(context, thorough, model_digest="1" * 64, original=before)


def declared(of: str) -> set[str]:
    return set(chain.from_iterable(getattr(measurement.produces, of) for measurement in MEASUREMENTS.values()))


def test_a_bound_may_name_what_measurements_declare_and_nothing_else() -> None:
    assert declared("attacks") == set(figure_names.ATTACKS)
    assert declared("across") == set(figure_names.ACROSS_FIGURES)
    assert declared("curves") == set(figure_names.CURVES)
    assert declared("variants") == set(figure_names.VARIANTS)
    copies = [measurement.produces for measurement in MEASUREMENTS.values() if measurement.produces.variants]
    whole = [measurement.produces for measurement in MEASUREMENTS.values() if not measurement.produces.variants]
    assert by_sets(whole) == {name: set(sets) for name, sets in figure_names.SET_FIGURES.items()}
    assert by_sets(copies) == {name: set(sets) for name, sets in figure_names.VARIANT_FIGURES.items()}


def by_sets(produces: list[ProducedFigures]) -> dict[str, set[str]]:
    all_sets = figure_names.SET_FIGURES["perplexity"]
    sets_of: dict[str, set[str]] = {}
    for measured in produces:
        for figure in measured.figures:
            sets_of.setdefault(figure, set()).update(measured.sets or all_sets)
    return sets_of


def test_each_figure_is_produced_by_exactly_one_measurement() -> None:
    for figure, sets in figure_names.SET_FIGURES.items():
        for name in sets:
            assert sum(measurement.produces.includes(figure, name, None) for measurement in MEASUREMENTS.values()) == 1


def test_every_figure_that_a_bound_may_name_is_measured(measured: Measurements) -> None:
    for figure, sets in figure_names.SET_FIGURES.items():
        assert {name for name in sets if figure in measured.sets[name]} == set(sets), figure
    for variant in figure_names.VARIANTS:
        for figure, sets in figure_names.VARIANT_FIGURES.items():
            assert {name for name in sets if figure in measured.variants[variant][name]} == set(sets), figure
    assert set(measured.attacks) == set(figure_names.ATTACKS)
    assert set(measured.across) == set(figure_names.ACROSS_FIGURES)
    assert set(measured.curves) == set(figure_names.CURVES)


def test_a_bound_may_name_every_figure_that_is_measured(measured: Measurements) -> None:
    for name, result in measured.sets.items():
        of_groups = {figure for figure in result if figure.startswith("utility_")}
        assert set(result) - CHANGES - of_groups == {
            figure for figure, sets in figure_names.SET_FIGURES.items() if name in sets
        }
    for variant, sets_of in measured.variants.items():
        assert variant in figure_names.VARIANTS
        for name, result in sets_of.items():
            assert set(result) == {figure for figure, sets in figure_names.VARIANT_FIGURES.items() if name in sets}
