"""A Llama of two layers with random weights, and a tokenizer of 97 words: large enough for errors to show."""

import random
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM, PreTrainedTokenizerFast

from core.schema.record import Message, Record

BOS, EOS, PAD = 0, 1, 2
VOCABULARY = 97


def tiny_tokenizer(single: str = "<bos> $A") -> PreTrainedTokenizerFast:
    """Returns a tokenizer whose words w0 to w93 are the tokens 3 to 96. `single` is the template around a text."""
    words = {"<bos>": BOS, "<eos>": EOS, "<pad>": PAD} | {f"w{number}": number + 3 for number in range(VOCABULARY - 3)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[("<bos>", BOS), ("<eos>", EOS)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")


_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
}


def tiny_model(seed: int = 0, *, dtype: torch.dtype = torch.float64, tied: bool = False) -> LlamaForCausalLM:
    """Returns a model with weights larger than a fresh model's, so that its predictions are far from uniform."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        **_SIZES,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config).to(dtype).eval()


def tiny_mixture(seed: int = 0) -> MixtralForCausalLM:
    """Returns a model with four experts in each layer, two for each token, in float32."""
    torch.manual_seed(seed)
    config = MixtralConfig(
        **_SIZES,
        num_local_experts=4,
        num_experts_per_tok=2,
    )
    return MixtralForCausalLM(config).eval()


def words(count: int, rng: random.Random) -> str:
    return " ".join(f"w{rng.randrange(VOCABULARY - 3)}" for _ in range(count))


def records(count: int, seed: int, *, longest: int = 9) -> list[Record]:
    """Returns records of all three shapes and many lengths, each with an alternate."""
    rng, alternates = random.Random(seed), random.Random(seed + 1000)
    generated: list[Record] = []
    for number in range(count):
        size = rng.randint(2, longest)
        if number % 3 == 0:
            generated.append(Record(text=words(size, rng)))
        elif number % 3 == 1:
            generated.append(Record(prompt=words(rng.randint(1, 4), rng), completion=words(size, rng)))
        else:
            turns = [Message(role="user", content=words(2, rng)), Message(role="assistant", content=words(size, rng))]
            generated.append(Record(messages=turns))
        generated[-1].alternate = words(alternates.randint(2, longest), alternates)
    return generated
