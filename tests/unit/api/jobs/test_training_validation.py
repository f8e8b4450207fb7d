"""Names of weights and modules are checked against the model's files, although names in memory may differ a little."""

import pytest

from api.http.problems import Problem
from api.jobs.training_validation import check_training
from core.schema.jobs import JobRequest
from core.schema.models import ModelShape, TensorGroup
from core.unlearning.method import Method
from core.unlearning.objectives import METHODS, resolve


def shape(*tensors: TensorGroup, tied: bool = False) -> ModelShape:
    return ModelShape(
        architecture="LlamaForCausalLM",
        parameters=10,
        bytes=20,
        hidden_size=8,
        layers=2,
        heads=2,
        vocabulary=32,
        context=64,
        dtype="bfloat16",
        tied=tied,
        tensors=list(tensors),
    )


LLAMA = [
    TensorGroup(name="model.embed_tokens.weight", shape=[32, 8], count=1),
    TensorGroup(name="model.layers.*.self_attn.q_proj.weight", shape=[8, 8], count=2),
    TensorGroup(name="model.layers.*.input_layernorm.weight", shape=[8], count=2),
    TensorGroup(name="lm_head.weight", shape=[32, 8], count=1),
]
GPT2 = [TensorGroup(name="h.*.attn.c_attn.weight", shape=[8, 24], count=2)]
MIXTURE = [*LLAMA, TensorGroup(name="model.layers.*.mlp.experts.*.w1.weight", shape=[8, 8], count=8)]


def check_request(
    training: dict[str, object], tensors: list[TensorGroup], *, tied: bool = False, **more: object
) -> None:
    request = JobRequest.model_validate(
        {"model": "demo", "forget": {"records": ["a"]}, "training": training, **more},
    )
    check_training(request, resolve("ascent_kl", {}), shape(*tensors, tied=tied), stored="bfloat16")


@pytest.mark.parametrize(
    ("tensors", "pattern"),
    [
        (LLAMA, "model.layers.1.*"),
        (LLAMA, "*.q_proj.weight"),
        (LLAMA, "lm_head.weight"),
        (GPT2, "transformer.h.1.attn.*"),
        (GPT2, "h.0.*"),
        (MIXTURE, "model.layers.0.mlp.experts.gate_up_proj"),
    ],
)
def test_patterns_of_possible_weight_names_are_accepted(tensors: list[TensorGroup], pattern: str) -> None:
    check_request({"trainable": [pattern]}, tensors)


@pytest.mark.parametrize("pattern", ["model.layers.2.*", "q_proj", "model.layer.1.*"])
def test_a_pattern_that_matches_no_layer_is_refused(pattern: str) -> None:
    with pytest.raises(Problem) as caught:
        check_request({"trainable": ["*norm*", pattern]}, LLAMA)
    assert (caught.value.name, caught.value.errors[0].pointer) == ("no-such-layer", "/training/trainable/1")
    assert pattern in caught.value.detail


def test_a_tied_head_is_found_by_its_own_name() -> None:
    check_request({"trainable": ["lm_head.weight"]}, LLAMA[:3], tied=True)
    with pytest.raises(Problem):
        check_request({"trainable": ["lm_head.weight"]}, LLAMA[:3])


@pytest.mark.parametrize("module", ["q_proj", "self_attn.*", "model.layers.0.self_attn.q_proj"])
def test_modules_match_by_the_ends_of_their_names(module: str) -> None:
    check_request({"lora": {"modules": [module]}}, LLAMA)


@pytest.mark.parametrize("module", ["qproj", "lm_head", "embed_tokens", "input_layernorm", "layers.2.self_attn.q_proj"])
def test_missing_modules_and_modules_without_adapter_support_are_refused(module: str) -> None:
    with pytest.raises(Problem) as caught:
        check_request({"lora": {"modules": [module]}}, LLAMA)
    assert (caught.value.name, caught.value.errors[0].pointer) == ("no-such-modules", "/training/lora/modules/0")


def test_bfloat16_weights_cannot_be_multiplied_in_float32() -> None:
    check_request({"master_weights": "bfloat16"}, LLAMA)
    with pytest.raises(Problem) as caught:
        check_request({"master_weights": "bfloat16", "precision": "float32"}, LLAMA)
    assert caught.value.name == "two-choices"


class Chooser(METHODS["gradient_ascent"]):  # type: ignore[misc]
    """A method that chooses the weights that it trains."""

    def trained_weights(self, layers: int) -> list[str] | None:
        return ["*"]


def test_a_method_that_chooses_its_weights_cannot_train_an_adapter() -> None:
    method: Method = Chooser()
    request = JobRequest.model_validate({"model": "demo", "forget": {"records": ["a"]}, "training": {"lora": {}}})
    with pytest.raises(Problem) as caught:
        check_training(request, method, shape(*LLAMA), stored="bfloat16")
    assert (caught.value.name, caught.value.errors[0].pointer) == ("two-choices", "/training/lora")


MAMBA = [
    TensorGroup(name="backbone.embeddings.weight", shape=[32, 8], count=1),
    TensorGroup(name="backbone.layers.*.mixer.in_proj.weight", shape=[24, 8], count=2),
    TensorGroup(name="backbone.layers.*.mixer.out_proj.weight", shape=[8, 16], count=2),
]


def by_rmu(tensors: list[TensorGroup], **parameters: object) -> None:
    request = JobRequest.model_validate({"model": "demo", "forget": {"records": ["a"]}, "method": {"name": "rmu"}})
    check_training(request, resolve("rmu", parameters), shape(*tensors), stored="bfloat16")


def test_a_model_without_the_matrices_that_the_method_trains_is_refused_at_submission() -> None:
    with pytest.raises(Problem, match=r"none there by any name") as caught:
        by_rmu(MAMBA)
    assert (caught.value.status, caught.value.name) == (422, "no-such-layer")
    by_rmu([TensorGroup(name="model.layers.*.mlp.down_proj.weight", shape=[8, 16], count=2)])
    by_rmu([TensorGroup(name="h.*.mlp.c_proj.weight", shape=[16, 8], count=2)])
    by_rmu([TensorGroup(name="model.layers.*.block_sparse_moe.experts.*.w2.weight", shape=[8, 16], count=8)])


def test_a_layer_number_beyond_the_model_is_refused() -> None:
    with pytest.raises(Problem, match=r"at_layer is 2, but the model's layers are 0 to 1"):
        by_rmu(LLAMA, at_layer=2)


def test_modules_that_peft_does_not_support_are_refused_by_name() -> None:
    request = JobRequest.model_validate(
        {"model": "demo", "forget": {"records": ["a"]}, "training": {"lora": {"modules": ["in_proj", "out_proj"]}}}
    )
    mamba = shape(*MAMBA).model_copy(update={"architecture": "MambaForCausalLM"})
    with pytest.raises(Problem, match="peft takes no adapter for 'out_proj'") as caught:
        check_training(request, resolve("ascent_kl", {}), mamba, stored="bfloat16")
    assert caught.value.errors[0].pointer == "/training/lora/modules/1"
    request.training.lora.modules = ["in_proj", "mixer.*"]  # type: ignore[union-attr]
    check_training(request, resolve("ascent_kl", {}), mamba, stored="bfloat16")
