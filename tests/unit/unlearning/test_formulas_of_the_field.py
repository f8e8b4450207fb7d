"""The methods beyond the seed paper, followed for two updates like those of it: each against its formula, in loops."""

import math

import pytest
import torch

from tests.unit.lm.tiny import VOCABULARY
from tests.unit.unlearning import test_formulas as twin
from tests.unit.unlearning.test_formulas import EVERYTHING, descent, kl, log_p, mean, tokens


def losses(model, ids, first):
    """l_t of a record's scored tokens, one by one."""
    rows = log_p(model, ids, first)
    return [-rows[place, token] for place, token in enumerate(ids[first:].tolist())]


def constants(model, ids, first):
    return [loss.item() for loss in losses(model, ids, first)]


def log_sigmoid(x):
    return torch.log(1 / (1 + torch.exp(-x)))


def over_records(of_record):
    return lambda model, original, sets, epoch: mean(of_record(model, original, *one) for one in tokens(sets.forget))


def npo(beta):
    def of_record(model, original, ids, first):
        return -2 / beta * log_sigmoid(beta * (sum(losses(model, ids, first)) - sum(constants(original, ids, first))))

    return over_records(of_record)


def simnpo(beta, delta):
    def of_record(model, original, ids, first):
        return -2 / beta * log_sigmoid(beta * (mean(losses(model, ids, first)) - delta))

    return over_records(of_record)


def weighted(weight):
    """-(1/n) Σ_t w(p, p0) l_t with the weight as a constant."""

    def of_record(model, original, ids, first):
        found = losses(model, ids, first)
        before = constants(original, ids, first)
        return -mean(
            weight(math.exp(-loss.item()), math.exp(-was)) * loss for loss, was in zip(found, before, strict=True)
        )

    return over_records(of_record)


def token_npo(beta, alpha):
    return weighted(lambda p, p0: 2 * p ** (beta + alpha) / (p**beta + p0**beta))


def undial(beta):
    def of_record(model, original, ids, first):
        terms = []
        for was, now, token in zip(log_p(original, ids, first), log_p(model, ids, first), ids[first:], strict=True):
            wanted = was.detach().exp()
            wanted[token] *= math.exp(-beta)
            terms.append(-sum(wanted[v] / wanted.sum() * now[v] for v in range(VOCABULARY)))
        return mean(terms)

    return over_records(of_record)


def ce_u(skip):
    def of_record(model, original, ids, first):
        terms = []
        for now, token in zip(log_p(model, ids, first), ids[first:].tolist(), strict=True):
            others = [v for v in range(VOCABULARY) if v != token]
            total = sum(now[v].exp().item() for v in others)
            terms.append(-sum(now[v].exp().item() / total * now[v] for v in others))
        return mean(terms[min(skip, len(terms) - 1) :])

    return over_records(of_record)


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
