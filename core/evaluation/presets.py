"""Presets: our figures under the key names of other benchmarks, so that tables can be compared.

`PRESETS[name].measure` lists what to measure; `preset_table(name, measurements)` makes the table. docs/presets.md
names the source of each key's definition. A key is left out of the table where its figure could not be measured (a set,
a group of probes or a retrained model is missing); the measurements' warnings say why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from core.schema.evaluation import Figure, MeasurementChoice, MeasurementResult, SetName

Preset = Literal["tofu", "muse"]
PRESET_NAMES: tuple[Preset, ...] = get_args(Preset)


@dataclass(frozen=True)
class Key:
    """Where a key's figure is found: in the first of `sets` that has it, else across sets, or the AUC of an attack."""

    figure: str
    sets: tuple[SetName, ...] = ()
    attack: bool = False

    def find(self, result: MeasurementResult) -> Figure | None:
        if self.attack:
            return result.attacks[self.figure].auc if self.figure in result.attacks else None
        if not self.sets:
            return result.across.get(self.figure)
        return next(
            (result.sets[name][self.figure] for name in self.sets if self.figure in result.sets.get(name, {})), None
        )


@dataclass(frozen=True)
class PresetDefinition:
    """The measurements that a table needs, and its keys."""

    measure: tuple[str | MeasurementChoice, ...]
    keys: Mapping[str, Key]


_WITH_WRONG_ANSWERS: tuple[SetName, ...] = ("probes", "forget")
_GROUPS = {"retain": "retain", "ra": "real_authors", "wf": "world_facts"}


def _tofu() -> dict[str, Key]:
    keys = {
        "forget_Q_A_Prob": Key("probability", ("forget",)),
        "forget_Q_A_PARA_Prob": Key("paraphrased_probability_open_unlearning", _WITH_WRONG_ANSWERS),
        "forget_Q_A_PERT_Prob": Key("wrong_probability_open_unlearning", _WITH_WRONG_ANSWERS),
        "forget_Q_A_ROUGE": Key("rouge_open_unlearning", ("forget",)),
        "forget_truth_ratio": Key("truth_ratio", _WITH_WRONG_ANSWERS),
        "forget_Truth_Ratio": Key("truth_ratio", _WITH_WRONG_ANSWERS),
        "forget_quality": Key("forget_quality"),
        "model_utility": Key("model_utility"),
        "privleak": Key("privleak_open_unlearning"),
        "extraction_strength": Key("extraction_strength_open_unlearning", ("forget",)),
        "exact_memorization": Key("exact_memorization_open_unlearning", ("forget",)),
        "mia_loss": Key("loss", attack=True),
        "mia_zlib": Key("zlib", attack=True),
        "mia_min_k": Key("mia_min_k_open_unlearning"),
        "mia_min_k_plus_plus": Key("mia_min_k++_open_unlearning"),
        "mia_reference": Key("reference", attack=True),
        "mia_gradnorm": Key("gradnorm", attack=True),
    }
    for short, group in _GROUPS.items():
        probability = "Prob" if group == "retain" else "Prob_normalised"
        keys[f"{short}_Q_A_{probability}"] = Key(f"utility_probability_{group}", ("protected",))
        keys[f"{short}_Q_A_ROUGE"] = Key(f"utility_rouge_{group}", ("protected",))
        keys[f"{short}_Truth_Ratio"] = Key(f"utility_truth_ratio_{group}", ("protected",))
    return keys


PRESETS: dict[Preset, PresetDefinition] = {
    "tofu": PresetDefinition(
        measure=(
            "likelihood",
            "membership",
            "truth_ratio",
            "forget_quality",
            MeasurementChoice.model_validate(
                {"name": "model_utility", "records": None, "tokens": 200, "words": "stems"}
            ),
            "open_unlearning",
        ),
        keys=_tofu(),
    ),
    "muse": PresetDefinition(
        measure=("membership", "privleak", "muse"),
        keys={
            "verbmem_f": Key("verbmem_muse", ("forget",)),
            "knowmem_f": Key("knowmem_muse", ("probes",)),
            "knowmem_r": Key("knowmem_muse", ("protected",)),
            "privleak": Key("privleak_min_k_40"),
        },
    ),
}


def preset_table(preset: Preset, measurements: MeasurementResult) -> dict[str, float]:
    """The benchmark's keys in its order, with the figures that were measured. Raises KeyError for an unknown preset."""
    figures = {name: key.find(measurements) for name, key in PRESETS[preset].keys.items()}
    return {name: figure.value for name, figure in figures.items() if figure is not None}
