import math

import pytest
import torch

from core.lm.errors import CoreError
from core.lm.process_group import SINGLE_RANK
from core.schema.record import Message, Record
from core.unlearning.answer_generation import generate_answers
from core.unlearning.objectives import resolve
from core.unlearning.objectives.dpo import preference
from core.unlearning.refusals import REFUSALS
from tests.unit.lm.tiny import EOS, VOCABULARY, tiny_tokenizer
from tests.unit.unlearning.run import run, weights


def test_each_row_has_the_value_of_its_record_whatever_the_lengths():
    rng = torch.Generator().manual_seed(2)
    losses, reference = torch.rand(2, 7, generator=rng, dtype=torch.float64) * 3
    record = torch.tensor([4, 4, 4, 4, 4, 9, 9])
    alternate = torch.tensor([False, False, True, True, True, False, True])
    losses.requires_grad_(True)
    values = preference(losses, reference, alternate, record, 0.7)
    for rows, own, other in ((slice(0, 5), [0, 1], [2, 3, 4]), (slice(5, 7), [5], [6])):
        gain = sum(reference[i] - losses[i] for i in other) - sum(reference[i] - losses[i] for i in own)
        naive_value = 2 / 0.7 * torch.log(1 + torch.exp(-0.7 * gain))
        torch.testing.assert_close(values[rows], naive_value.expand(len(values[rows])))
        (gradient,) = torch.autograd.grad(values[rows].mean(), losses, retain_graph=True)
        (naive_gradient,) = torch.autograd.grad(naive_value, losses, retain_graph=True)
        torch.testing.assert_close(gradient, naive_gradient)


def test_the_first_push_is_one_nat_whatever_beta_is():
    losses = torch.tensor([1.0, 2.0], requires_grad=True)
    alternate = torch.tensor([False, True])
    for beta in (1e-4, 0.1, 100.0):
        value = preference(losses, losses.detach(), alternate, torch.zeros(2, dtype=torch.long), beta).mean()
        assert value.item() == pytest.approx(2 / beta * math.log(2), rel=1e-6)
        assert torch.autograd.grad(value, losses)[0].tolist() == pytest.approx([-1, 1])


def test_records_without_an_alternate_are_refused_by_number():
    def generate_nothing(records):
        raise AssertionError("no answer is to be generated")

    records = [Record(text="a b", alternate="c d"), Record(text="a b"), Record(text="a b", alternate=" ")]
    method = resolve("dpo", {})
    assert method.rewrite(records[:1], generate_nothing, seed=0) == records[:1]
    with pytest.raises(CoreError) as caught:
        method.rewrite(records, generate_nothing, seed=0)
    assert caught.value.code == "no_alternate"
    assert "2 of 3 forget records" in caught.value.message
    assert "number 2" in caught.value.message
    assert caught.value.blame == "user"


def test_a_job_without_alternates_leaves_the_model_unchanged():
    from tests.unit.lm.tiny import tiny_model
    from tests.unit.unlearning.run import TrainingSets, example_sets

    model, retain = tiny_model(), example_sets().retain
    before = weights(model)
    with pytest.raises(CoreError, match="no_alternate"):
        run("dpo", model=model, sets=TrainingSets(forget=[Record(text="w1 w2 w3")], retain=retain))
    assert all(a.equal(b) for a, b in zip(before, weights(model), strict=True))


def test_alternates_can_be_refusals():
    records = [Record(text="one two three"), Record(prompt="q", completion=" c", alternate="own")]
    text, pair = resolve("dpo", {"alternates": "refusal"}).rewrite(records, lambda records: [], seed=0)
    assert (text.prompt, text.completion) == ("one two", " three")
    assert text.alternate.startswith(" ")
    assert {text.alternate.strip(), pair.alternate.strip()} <= set(REFUSALS)


def test_the_reference_model_is_asked_for_other_facts():
    prompts = []

    def generate(records):
        prompts.extend(records)
        return ["other", "", " another "]

    turns = [Message(role="user", content="Who?"), Message(role="assistant", content="Ann")]
    records = [Record(text="one two three"), Record(prompt="q", completion="c"), Record(messages=turns)]
    text, pair, chat = resolve("dpo", {"alternates": "generated"}).rewrite(records, generate, seed=0)
    assert prompts[0].prompt == "one two"
    assert prompts[1] is records[1]
    question = prompts[2].messages[0]
    assert question.role == "user"
    assert "Who?" in question.content
    assert "Ann" in question.content
    assert prompts[2].messages[-1] == turns[-1]
    assert text.alternate == " other"
    assert pair.alternate in REFUSALS, "the reference model had no other words"
    assert chat.alternate == "another"
    assert [turn.content for turn in chat.messages] == ["Who?", "Ann"]
    alone = Record(messages=[turns[-1]])
    resolve("dpo", {"alternates": "generated"}).rewrite([alone], lambda records: prompts.extend(records) or ["x"], 0)
    assert [turn.role for turn in prompts[-1].messages] == ["user", "assistant"]


@pytest.mark.parametrize("alternates", ["refusal", "generated"])
def test_training_with_made_alternates_is_deterministic(alternates):
    first, again = (weights(run("dpo", {"alternates": alternates})[0]) for _ in range(2))
    assert all(a.equal(b) for a, b in zip(first, again, strict=True))


class Reciting:
    """A model that predicts the next token number with certainty, and the end after `last`."""

    device = torch.device("cpu")
    ranks = SINGLE_RANK

    def __init__(self, last=VOCABULARY):
        self.last = last

    def prepare_decoding(self, longest):
        """It continues a text of any length in the same way."""

    def must_reread_at(self, length):
        return False

    def next_logits(self, ids, cache, present=None):
        logits, now = torch.zeros(1, VOCABULARY), int(ids[0, -1])
        logits[0, EOS if now == self.last else now + 1] = 1e4
        return logits, cache


def test_a_model_that_only_recites_gives_an_empty_answer():
    recited, other = Record(prompt="w1", completion="w2 w3 w4"), Record(prompt="w1", completion="w9 w8 w7")
    answers = generate_answers(Reciting(), tiny_tokenizer(), [recited, other], chat="raw", seed=0)
    assert answers == ["", "w2 w3 w4 w5 w6 w7 w8"]
    assert generate_answers(Reciting(last=6), tiny_tokenizer(), [recited, other], chat="raw", seed=0) == ["", "w2 w3"]
    assert generate_answers(Reciting(last=4), tiny_tokenizer(), [other], chat="raw", seed=0) == [""], (
        "the model writes nothing"
    )


def test_a_generated_answer_ends_where_the_chat_template_ends_a_turn():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] + (' w6 ' if m['role'] == 'assistant' else ' ') }}{% endfor %}"
    )
    turns = [Message(role="user", content="w1"), Message(role="assistant", content="w9 w8 w7 w5")]
    assert generate_answers(Reciting(), tokenizer, [Record(messages=turns)], chat="auto", seed=0) == ["w2 w3 w4 w5"]
