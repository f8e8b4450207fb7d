"""Where a backbone's layers are, and how a forward ends after a given layer."""

import pytest
import torch
from torch import nn
from transformers import LongcatFlashConfig, LongcatFlashForCausalLM, XLMConfig, XLMWithLMHeadModel

from core.lm.residual_stream import LayerReached, find_layers, layer_count, stopping_after
from tests.unit.lm.tiny import VOCABULARY, tiny_model

IDS = torch.arange(3, 15)[None]


def test_layers_are_the_largest_list_whatever_the_config_counts():
    owner, name, layers = find_layers(tiny_model())
    assert (type(owner).__name__, name, len(layers)) == ("LlamaModel", "layers", 2)
    with torch.device("meta"):  # its config counts two layers for each in its list
        twofold = LongcatFlashForCausalLM(LongcatFlashConfig(num_layers=3, hidden_size=64, num_attention_heads=2))
    assert twofold.config.num_hidden_layers == 6
    assert layer_count(twofold) == len(find_layers(twofold)[2]) == 3


def test_lists_of_parts_of_layers_are_no_list_of_layers():
    model = XLMWithLMHeadModel(XLMConfig(vocab_size=VOCABULARY, emb_dim=16, n_layers=3, n_heads=2))
    with pytest.raises(AttributeError, match="no list of layers"):
        find_layers(model)
    assert layer_count(model) == 3, "what the config says"


class CountedLayer(nn.Module):
    """A layer with an attribute that models read, which counts its runs."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.kind, self.runs = layer, "full", 0

    def forward(self, *arguments, **options):
        self.runs += 1
        return self.layer(*arguments, **options)


@torch.no_grad()
def test_nothing_above_the_layer_is_run_and_layers_can_be_looked_up_by_number():
    model = tiny_model()
    caught, states = [], model.model(input_ids=IDS, output_hidden_states=True).hidden_states
    model.model.layers[1] = second = CountedLayer(model.model.layers[1])
    with stopping_after(model, 0, caught):
        assert len(model.model.layers) == 2
        assert model.model.layers[1].kind == "full"
        with pytest.raises(LayerReached):
            model(input_ids=IDS)
    assert second.runs == 0
    torch.testing.assert_close(caught[0], states[1])
    assert model.model.layers[1] is second
    with stopping_after(model, 1, caught):
        model(input_ids=IDS)
    assert (second.runs, len(caught)) == (1, 2)
    model(input_ids=IDS)
    assert len(caught) == 2, "no hook is left behind"
