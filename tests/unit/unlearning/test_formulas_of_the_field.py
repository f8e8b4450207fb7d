"""The methods of later papers, followed for two updates like those of the seed paper: each against its formula."""

import math

import pytest
import torch

from tests.unit.lm.tiny import VOCABULARY
from tests.unit.unlearning import test_formulas as twin
from tests.unit.unlearning.test_formulas import EVERYTHING, descent, kl, log_p, mean, tokens


def losses(model, ids, first):
    """l_t of each scored token of a record."""
    rows = log_p(model, ids, first)
    return [-rows[place, token] for place, token in enumerate(ids[first:].tolist())]


def constants(model, ids, first):
    return [loss.item() for loss in losses(model, ids, first)]


def log_sigmoid(x):
    return torch.log(1 / (1 + torch.exp(-x)))


def over_records(record_value):
    return lambda model, original, sets, epoch: mean(
        record_value(model, original, *record) for record in tokens(sets.forget)
    )


def npo(beta):
    def record_value(model, original, ids, first):
        return -2 / beta * log_sigmoid(beta * (sum(losses(model, ids, first)) - sum(constants(original, ids, first))))

    return over_records(record_value)


def simnpo(beta, delta):
    def record_value(model, original, ids, first):
        return -2 / beta * log_sigmoid(beta * (mean(losses(model, ids, first)) - delta))

    return over_records(record_value)


def weighted(weight):
    """-(1/n) Σ_t w(p, p0) l_t with the weight as a constant."""

    def record_value(model, original, ids, first):
        pairs = zip(losses(model, ids, first), constants(original, ids, first), strict=True)
        return -mean(weight(math.exp(-loss.item()), math.exp(-loss0)) * loss for loss, loss0 in pairs)

    return over_records(record_value)


def token_npo(beta, alpha):
    return weighted(lambda p, p0: 2 * p ** (beta + alpha) / (p**beta + p0**beta))


def undial(beta):
    def record_value(model, original, ids, first):
        terms = []
        rows = zip(log_p(original, ids, first), log_p(model, ids, first), ids[first:], strict=True)
        for log_p0, log_p1, token in rows:
            target = log_p0.detach().exp()
            target[token] *= math.exp(-beta)
            terms.append(-sum(target[v] / target.sum() * log_p1[v] for v in range(VOCABULARY)))
        return mean(terms)

    return over_records(record_value)


def ce_u(skip):
    def record_value(model, original, ids, first):
        terms = []
        for row, token in zip(log_p(model, ids, first), ids[first:].tolist(), strict=True):
            others = [v for v in range(VOCABULARY) if v != token]
            total = sum(row[v].exp().item() for v in others)
            terms.append(-sum(row[v].exp().item() / total * row[v] for v in others))
        return mean(terms[min(skip, len(terms) - 1) :])

    return over_records(record_value)


CASES = [
    ("npo", {}, 1.0, npo(0.1), descent),
    ("npo", {"beta": 2.0, "retain_term": "kl", "forget_weight": 0.3}, 0.3, npo(2.0), kl),
    ("npo", {"beta": 1e-3, "retain_term": "none"}, 1.0, npo(1e-3), None),
    ("simnpo", {}, 0.125, simnpo(4.5, 0.0), descent),
    ("simnpo", {"beta": 0.7, "delta": 1.5, "forget_weight": 1.0}, 1.0, simnpo(0.7, 1.5), descent),
    ("token_npo", {}, 1.0, token_npo(4, 0), descent),
    ("token_npo", {"weighted": True, "retain_term": "none"}, 1.0, token_npo(4, 1.5), None),
    ("token_npo", {"weighted": True, "beta": 0.2, "alpha": 0.1, "retain_term": "kl"}, 1.0, token_npo(0.2, 0.1), kl),
    ("undial", {}, 1.0, undial(10), descent),
    ("undial", {"beta": 1.0, "retain_term": "none"}, 1.0, undial(1), None),
    ("weighted_ascent", {}, 1.0, weighted(lambda p, p0: p), descent),
    ("weighted_ascent", {"beta": 0.3, "retain_term": "none"}, 1.0, weighted(lambda p, p0: p**0.3), None),
    ("satimp", {}, 0.1, weighted(lambda p, p0: p**5 * (1 - p)), descent),
    ("satimp", {"beta1": 0.2, "beta2": 0.5}, 0.1, weighted(lambda p, p0: p**0.2 * (1 - p) ** 0.5), descent),
    ("ce_u", {}, 1.0, ce_u(1), descent),
    ("ce_u", {"skip": 0, "retain_term": "none"}, 1.0, ce_u(0), None),
    ("ce_u", {"skip": 4, "retain_term": "none"}, 1.0, ce_u(4), None),
]


@pytest.mark.parametrize(("method", "parameters", "forget_weight", "forget", "retain"), CASES)
@pytest.mark.parametrize("micro_batch_tokens", [100_000, 25])
def test_two_updates_follow_the_formula(method, parameters, forget_weight, forget, retain, micro_batch_tokens):
    everything = {} if retain is None else EVERYTHING
    twin.test_two_updates_follow_the_formula(
        method, parameters | everything, forget_weight, forget, retain, 1.0, micro_batch_tokens
    )
