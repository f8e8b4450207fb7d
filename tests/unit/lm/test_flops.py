"""FLOPs in closed form against a count of every product that a plain forward and backward make."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from core.lm.data import encode
from core.lm.flops import METER, ComputeUsage, ModelFlops
from core.lm.forward import Forward
from tests.unit.lm.tiny import records, tiny_model, tiny_tokenizer

TOKENS = 11


def eager(**settings):
    model = tiny_model(dtype=torch.float32, **settings)
    model.set_attn_implementation("eager")
    return model


def counted(model, tokens, *, backward=False):
    """Counts the FLOPs of one record; attention that the mask hides is computed, and counted too."""
    with FlopCounterMode(display=False) as counter:
        logits = model(input_ids=torch.arange(tokens)[None], use_cache=False).logits
        if backward:
            logits.sum().backward()
    return counter.get_total_flops()


def chunks(longest=9):
    return encode(records(5, seed=3, longest=longest), tiny_tokenizer(), max_length=64, chat="raw")


@pytest.fixture
def spent():
    """Returns the usage metered since the test began."""
    start = METER.reading
    return lambda: METER.reading - start


@pytest.mark.parametrize("tied", [False, True])
def test_a_forward_pass_costs_a_plain_forward_less_the_attention_that_the_mask_hides(tied):
    flops = ModelFlops.of(eager(tied=tied))
    hidden = 2 * flops.width * TOKENS**2
    assert flops.forward(TOKENS, TOKENS**2) == counted(eager(tied=tied), TOKENS) - hidden
    # by hand: q 16x16, k and v 16x8, o 16x16, three of 16x32; a head of 97x16; 2 layers of 2 heads of 8
    assert (flops.weights, flops.head, flops.width) == (2 * (2 * 256 + 2 * 128 + 3 * 512), 97 * 16, 32)


def test_an_update_costs_three_forward_passes():
    flops = ModelFlops.of(eager())
    hidden = 3 * 2 * flops.width * TOKENS**2
    assert flops.update(TOKENS, TOKENS**2) == counted(eager(), TOKENS, backward=True) - hidden
    assert flops.update(TOKENS, TOKENS**2) == 3 * flops.forward(TOKENS, TOKENS**2)


def test_weights_that_are_not_trained_have_no_gradient_of_their_own():
    model = eager()
    flops, whole = ModelFlops.of(model), counted(model, TOKENS, backward=True)
    model.zero_grad()
    share = 0.0
    for name, weight in model.named_parameters():
        if name.endswith("up_proj.weight"):
            weight.requires_grad_(False)
            share += weight.numel() / (flops.weights + flops.head)
    spared = whole - counted(model, TOKENS, backward=True)
    pairs = TOKENS**2
    assert flops.update(TOKENS, pairs) - flops.update(TOKENS, pairs, trained=1 - share) == pytest.approx(spared)


def test_retraining_costs_six_flops_for_each_weight_and_token():
    flops = ModelFlops.of(tiny_model())
    assert flops.retraining(1000) == 6 * (flops.weights + flops.head) * 1000


@torch.no_grad()
def test_a_pass_without_gradients_is_metered_as_forward_whatever_goes_through_together(spent):
    forward = Forward(tiny_model())
    flops, lengths = ModelFlops.of(forward.model), [len(chunk.ids) for chunk in chunks()]
    forward.hidden(chunks())
    expected = sum(flops.forward(length, length**2) for length in lengths)
    assert spent() == ComputeUsage(sum(lengths), expected)


def test_a_pass_with_gradients_is_metered_with_its_backward_pass(spent):
    model = tiny_model()
    forward, flops = Forward(model), ModelFlops.of(model)
    lengths = [len(chunk.ids) for chunk in chunks()]
    forward.hidden(chunks())
    assert spent().flops == sum(flops.update(length, length**2) for length in lengths)
    before = spent()
    with torch.no_grad():
        forward.hidden(chunks())
    assert (spent() - before).flops == sum(flops.forward(length, length**2) for length in lengths)
    model.requires_grad_(False)
    frozen = Forward(model)
    before = spent()
    frozen.hidden(chunks())
    assert (spent() - before).flops == sum(flops.forward(length, length**2) for length in lengths)


@torch.no_grad()
def test_states_of_a_layer_are_metered_without_the_layers_above(spent):
    forward = Forward(tiny_model())
    flops, lengths = ModelFlops.of(forward.model), [len(chunk.ids) for chunk in chunks()]
    forward.states(chunks(), 0)
    squares = sum(length**2 for length in lengths)
    assert spent() == ComputeUsage(sum(lengths), sum(lengths) * flops.weights + flops.width * squares)


@torch.no_grad()
def test_tokens_written_one_by_one_are_metered_as_one_pass_over_all_of_them(spent):
    forward = Forward(tiny_model())
    flops = ModelFlops.of(forward.model)
    _, cache = forward.next_logits(torch.tensor([[3, 4, 5, 6], [5, 6, 7, 8]]), None)
    for _ in range(3):
        _, cache = forward.next_logits(torch.tensor([[9], [10]]), cache)
    assert spent() == ComputeUsage(14, 2 * flops.forward(7, 49))


@torch.no_grad()
def test_padding_is_not_metered(spent):
    forward = Forward(tiny_model())
    flops = ModelFlops.of(forward.model)
    present = torch.ones(2, 5, dtype=torch.bool)
    present[1, :2] = False
    _, cache = forward.next_logits(torch.tensor([[3, 4, 5, 6], [0, 0, 7, 8]]), None, present[:, :4])
    forward.next_logits(torch.tensor([[9], [10]]), cache, present)
    assert spent() == ComputeUsage(8, flops.forward(8, 25 + 9))
