"""The reference attack: a difference of two models' losses, only where there is a second model."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.evaluation.attacks.membership import evaluate_attack
from core.evaluation.eval_context import EvalContext
from core.evaluation.measurements.reference_attack import ReferenceAttack
from tests.tiny_model import TinyModel
from tests.unit.evaluation.statistics_samples import TRAINING, context_of

Loaded = tuple[PreTrainedModel, PreTrainedTokenizerBase]


def by_chance(seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(-2.0, 0.5, 30), generator.normal(-2.0, 0.5, 40)


def test_the_reference_score_is_the_retrained_models_loss_minus_the_models_own() -> None:
    own, retrained = by_chance(1), by_chance(2)
    context = context_of({"loss": own}, retrained={"loss": retrained})
    result = ReferenceAttack(judged=6).measure(context)
    # CE_ref - CE_theta, of cross-entropies that are the scores with the sign turned
    members, others = (
        [-theirs - -ours for theirs, ours in zip(of_retrained, of_model, strict=True)]
        for of_retrained, of_model in zip(retrained, own, strict=True)
    )
    assert list(result.attacks) == ["reference"]
    labels = [1] * 30 + [0] * 40
    assert result.attacks["reference"].auc.value == pytest.approx(roc_auc_score(labels, [*members, *others]))
    twin = evaluate_attack(np.array(members), np.array(others), context.resamples("membership"), judged=6)
    assert result.attacks["reference"].joint == pytest.approx(twin.joint)
    assert result.warnings == []


def test_records_that_only_the_measured_model_knows_stand_out() -> None:
    hard, easy = np.linspace(-4, -3, 30), np.linspace(-2, -1, 40)
    context = context_of({"loss": (hard + 0.5, easy)}, retrained={"loss": (hard, easy)})
    assert ReferenceAttack().measure(context).attacks["reference"].auc.value == 1.0


def test_there_is_no_reference_attack_without_a_retrained_model() -> None:
    result = ReferenceAttack().measure(context_of({"loss": by_chance(1)}))
    assert result.attacks == {}
    assert result.warnings == []


def test_the_reference_attack_of_a_model_against_itself_is_left_out() -> None:
    result = ReferenceAttack().measure(context_of({"loss": by_chance(1)}, retrained={"loss": by_chance(1)}))
    assert result.attacks == {}
    assert result.warnings == ["reference: left out, since the retrained model is the measured one itself"]
    assert "reference" not in ReferenceAttack.moments


def test_the_reference_attack_never_holds_two_models_in_memory(loaded: Loaded, tiny_model: TinyModel) -> None:
    held: set[str] = set()

    def context(name: str, retrained: EvalContext | None) -> EvalContext:
        def load() -> Loaded:
            assert not held
            held.add(name)
            return loaded

        class Watched(EvalContext):
            def unload_model(self) -> None:
                held.discard(name)
                super().unload_model()

        sets = {"forget": tiny_model.sets["forget"], "unseen": tiny_model.sets["unseen"]}
        return Watched(load, sets, training=TRAINING, retrained=retrained)

    retrained = context("retrained", None)
    ReferenceAttack().measure(context("measured", retrained))
    assert held == set()
    assert retrained.computed_columns("one pass", "forget") is not None
