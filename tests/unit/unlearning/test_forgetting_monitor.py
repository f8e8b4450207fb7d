"""The readings of a training, against losses that are computed record by record."""

import pytest
import torch

from core.lm.forward import Forward
from core.unlearning.forgetting_monitor import RISE, ForgettingMonitor
from core.unlearning.method_context import MethodContext
from core.unlearning.tokenized_set import TokenizedSet
from tests.unit.lm.tiny import records, tiny_model, tiny_tokenizer


def tokenize(texts):
    return TokenizedSet.tokenize(texts, tiny_tokenizer(), max_length=64, chat="raw", device=torch.device("cpu"))


def mean_loss(model, tokenized):
    """The mean over records of their mean token loss."""
    losses = []
    for chunk in tokenized.chunks:
        log_p = model(chunk.ids[None]).logits[0, :-1].log_softmax(-1)
        losses.append(-log_p[torch.arange(len(log_p)), chunk.ids[1:]][chunk.scored[1:]].mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("direction", [1, -1])
def test_text_that_grows_less_likely_is_read_and_text_that_grows_likelier_is_no_harm(direction):
    model = tiny_model(dtype=torch.float64)
    forget, unseen, held_out = (tokenize(records(12, seed=seed)) for seed in (1, 4, 2))
    context = MethodContext(Forward(model), tiny_tokenizer(), forget, unseen, 5, 1000)
    monitor = ForgettingMonitor(context, forget, unseen, held_out)
    before = mean_loss(model, unseen).item(), mean_loss(model, held_out).item()
    (mean_loss(model, unseen) + mean_loss(model, held_out)).backward()
    with torch.no_grad():
        for weight in model.parameters():
            weight += direction * 0.05 * weight.grad
    reading = monitor.read()
    rise = [mean_loss(model, each).item() - was for each, was in zip((unseen, held_out), before, strict=True)]
    assert all(each * direction > 0 for each in rise)
    assert reading.unseen == pytest.approx(max(0.0, rise[0]) / (2 * RISE), abs=1e-9)
    assert reading.retain == pytest.approx(rise[1] / RISE, abs=1e-9)


def test_one_likely_record_shows_that_the_model_knows_something_though_no_sample_holds_it():
    model = tiny_model(dtype=torch.float64)
    pool = sorted(records(150, seed=6), key=lambda record: mean_loss(model, tokenize([record])).item())
    likeliest, unseen, unlikely = pool[0], tokenize(pool[5:45]), pool[-60:]

    def knows_nothing(forget):
        tokenized = tokenize(forget)
        context = MethodContext(Forward(model), tiny_tokenizer(), tokenized, unseen, 5, 1000)
        return ForgettingMonitor(context, tokenized, unseen, None).knows_nothing()

    assert knows_nothing(unlikely)
    for place in range(0, 60, 4):
        assert not knows_nothing([*unlikely[:place], likeliest, *unlikely[place:]])
