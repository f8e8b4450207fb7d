"""One model, measured on every set."""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.evaluation import likelihood, membership, memorization
from core.evaluation.bootstrap import Resamples, weighted_means
from core.lm.data import encode
from core.lm.errors import CoreError
from core.lm.model import context_length
from core.lm.statistics import TokenStatistics, token_statistics
from core.schema.evaluation import Attack, Figure, Measurements, SetName
from core.schema.files import Record
from core.schema.training import Training


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sets: Mapping[SetName, Sequence[Record]],
    *,
    training: Training,
    seed: int,
    model_digest: str,
    before_set: Callable[[SetName], None] = lambda name: None,
) -> Measurements:
    """Every figure of the sets, which must be their measuring parts; an empty set has none.

    The membership attacks need forget and unseen. `before_set` is called before each pass, and may raise to end it.
    Raises CoreError `no_scored_tokens`, and `not_finite` where the model says no number.
    """
    began = time.monotonic()
    warnings: list[str] = []
    figures: dict[SetName, dict[str, Figure]] = {}
    scores: dict[SetName, dict[str, np.ndarray]] = {}
    length = context_length(model, training.max_length)
    for name, records in sets.items():
        if not records:
            warnings.append(f"{name}: there is no record to measure on")
            continue
        before_set(name)
        chunks = encode(records, tokenizer, max_length=length, chat=training.chat)
        statistics = token_statistics(model, chunks, len(records), max_tokens=training.micro_batch_tokens)
        _check(name, statistics)
        figures[name] = set_figures(statistics, Resamples(seed, name))
        warnings += _warnings(name, statistics)
        if name in ("forget", "unseen"):
            scores[name] = membership.scores(statistics, records)
    return Measurements(
        sets=figures,
        attacks=_attacks(scores, seed, warnings),
        warnings=warnings,
        seconds=time.monotonic() - began,
        model_digest=model_digest,
    )


def set_figures(statistics: Sequence[TokenStatistics], resamples: Resamples) -> dict[str, Figure]:
    """A set's likelihood and memorization figures: means over records, `perplexity_tokens` over tokens."""
    losses, tokens = likelihood.cross_entropies(statistics), likelihood.tokens(statistics)
    equal = np.ones(len(statistics))
    columns = {
        "perplexity": (losses, equal),
        "perplexity_tokens": (losses, tokens),
        "accuracy": (likelihood.accuracies(statistics), equal),
        "probability": (likelihood.probabilities(statistics), equal),
        "exact_memorization": (memorization.exact_memorization(statistics), equal),
        "extraction_strength": (memorization.extraction_strengths(statistics), equal),
    }
    through = {"perplexity": likelihood.perplexity, "perplexity_tokens": likelihood.perplexity}
    return weighted_means(columns, resamples, through=through)


def _attacks(scores: Mapping[SetName, dict[str, np.ndarray]], seed: int, warnings: list[str]) -> dict[str, Attack]:
    if "forget" not in scores or "unseen" not in scores:
        warnings.append("membership attacks need records of both forget and unseen: there are none")
        return {}
    forget, unseen = scores["forget"], scores["unseen"]
    for name, values in (("forget", forget["loss"]), ("unseen", unseen["loss"])):
        if len(values) < membership.FEW:
            warnings.append(
                f"{name}: an AUC on {len(values)} records, fewer than {membership.FEW}, says little: see its interval"
            )
    resamples = Resamples(seed, "membership")
    return {name: membership.attack(members, unseen[name], resamples) for name, members in forget.items()}


def _check(name: SetName, statistics: Sequence[TokenStatistics]) -> None:
    if not all(np.isfinite(one.log_probability).all() and np.isfinite(one.mean).all() for one in statistics):
        raise CoreError(
            "not_finite", f"the model gives no finite probabilities on the {name} set: its weights are broken"
        )


def _warnings(name: SetName, statistics: Sequence[TokenStatistics]) -> list[str]:
    found = []
    if len(statistics) == 1:
        found.append(f"{name}: one record has no interval")
    if likelihood.cross_entropies(statistics).mean() > likelihood.MOST_NATS:
        found.append(f"{name}: the perplexity is beyond what a number can hold; 1e304 stands for it")
    return found
