import torch

from core.lm.data import Chunk, encode
from core.lm.forward import Forward
from core.schema.record import Record
from core.unlearning import rehearsal
from core.unlearning.learned_prompts import has_learned_prompts
from core.unlearning.rehearsal import rehearse
from tests.unit.lm.tiny import BOS, EOS, records, tiny_model, tiny_tokenizer


def chunks(texts):
    return encode([Record(text=text) for text in texts], tiny_tokenizer(), max_length=64, chat="raw")


def rehearsed(
    *,
    model=None,
    forget=None,
    unseen=(),
    retain_chunks=(),
    texts=40,
    seed=1,
    temperature=1.0,
    first_temperature=None,
    tokenizer=None,
    stop=lambda: False,
):
    return rehearse(
        Forward(model or tiny_model()),
        tokenizer or tiny_tokenizer(),
        texts=texts,
        temperature=temperature,
        first_temperature=first_temperature,
        seed=seed,
        forget=forget or chunks(["w0 w1 w2 w3 w4 w5 w6 w7 w8"]),
        unseen=unseen,
        retain_chunks=retain_chunks,
        max_tokens=100,
        should_stop=stop,
    )


def ids(samples):
    return [sample.ids.tolist() for sample in samples]


def test_samples_depend_on_the_seed_and_leave_the_global_generator_alone():
    model = tiny_model()
    state = torch.random.get_rng_state()
    first = ids(rehearsed(model=model))
    assert torch.random.get_rng_state().equal(state)
    assert ids(rehearsed()) == first
    assert ids(rehearsed(seed=2)) != first


def test_samples_begin_like_a_text_and_have_the_length_of_forget_records():
    samples = rehearsed()
    assert len(samples) > 20
    assert [sample.record for sample in samples] == list(range(len(samples)))
    for sample in samples:
        assert sample.ids[0] == BOS
        assert EOS not in sample.ids[1:]
        assert len(sample.ids) <= 10
        assert sample.scored.tolist() == [False] + [True] * (len(sample.ids) - 1)
    assert max(len(sample.ids) for sample in samples) == 10


def test_samples_are_drawn_from_the_model_at_the_temperature():
    """At a temperature near 0, every sample is the model's most probable text."""
    model = tiny_model()
    tokens = [BOS]
    while len(tokens) < 10:
        tokens.append(int(model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()))
    assert EOS not in tokens
    assert ids(rehearsed(model=model, temperature=1e-4, texts=3)) == [tokens] * 2
    assert len({tuple(sample) for sample in ids(rehearsed(model=model))}) > 20


def test_the_first_token_has_a_temperature_of_its_own_and_a_least_probability(monkeypatch):
    """Near 0 everywhere else: each sample is its first token's most probable continuation."""
    monkeypatch.setattr(rehearsal, "FIRST_LEAST", 0.009)
    model = tiny_model()
    samples = ids(rehearsed(model=model, temperature=1e-4, first_temperature=5.0))
    assert len({sample[1] for sample in samples}) > 10
    for sample in samples:
        tokens = sample[:2]
        while len(tokens) < 10:
            tokens.append(int(model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()))
        ended = tokens.index(EOS) if EOS in tokens else len(tokens)
        assert sample == tokens[:ended]
    probabilities = model(input_ids=torch.tensor([[BOS]])).logits[0, -1].double().softmax(-1).tolist()
    likely = [probability if probability >= 0.009 else 0.0 for probability in probabilities]
    flat = [probability ** (1 / 5.0) for probability in likely]
    assert 10 < flat.count(0.0) < len(flat) - 10
    chances = torch.rand(40, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)[:, 0].tolist()
    drawn = []
    for number, chance in enumerate(chances):
        weights = flat if number % 2 else probabilities
        drawn.append(sum(sum(weights[: n + 1]) <= chance * sum(weights) for n in range(len(weights))))
    begun = [token for token in drawn if token != EOS]
    assert list(dict.fromkeys(sample[1] for sample in samples)) == list(dict.fromkeys(begun))


def test_of_equal_samples_the_root_of_their_number_is_kept():
    """At a temperature near 0 all samples are equal."""
    for texts, kept in ((1, 1), (4, 2), (5, 3), (40, 7)):
        assert len(ids(rehearsed(temperature=1e-4, texts=texts))) == kept
    different = ids(rehearsed())
    assert len({tuple(sample) for sample in different}) == len(different)


def test_samples_are_long_enough_for_nine_in_ten_forget_records():
    short, long = "w0 w1 w2 w3 w4 w5 w6", "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14 w15 w16 w17 w18"
    assert max(len(sample) for sample in ids(rehearsed(forget=chunks([short] * 17 + [long] * 3)))) == 20
    assert max(len(sample) for sample in ids(rehearsed(forget=chunks([short] * 19 + [long])))) == 8


LONG_FORGET = ["w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14"] * 3


def test_repetitions_of_the_forget_set_are_not_scored_unless_other_text_has_them_too():
    """Tokens 3 to 8 of a sample of 15 are in a forget record: 9 of its 15 tokens are scored."""
    everything = rehearsed(forget=chunks(LONG_FORGET))
    index = next(index for index, sample in enumerate(everything) if len(sample.ids) == 16)
    shared = Chunk(everything[index].ids[2:9], everything[index].scored[2:9], 3)
    partly_scored = rehearsed(forget=[*chunks(LONG_FORGET), shared])[index]
    assert partly_scored.ids.equal(everything[index].ids)
    assert partly_scored.scored.tolist() == [False] * 1 + [True] * 2 + [False] * 6 + [True] * 7
    fully_scored = rehearsed(forget=[*chunks(LONG_FORGET), shared], retain_chunks=[shared])
    assert [sample.scored.tolist() for sample in fully_scored] == [sample.scored.tolist() for sample in everything]


def test_a_sample_that_recites_a_forget_record_is_dropped():
    everything = rehearsed(forget=chunks(LONG_FORGET))
    index = next(index for index, sample in enumerate(everything) if len(sample.ids) == 16)
    recited = Chunk(everything[index].ids[:10], everything[index].scored[:10], 3)
    left = ids(rehearsed(forget=[*chunks(LONG_FORGET), recited]))
    assert left == [sample for number, sample in enumerate(ids(everything)) if number != index]


def test_a_tokenizer_without_a_first_token_gives_no_samples():
    tokenizer = tiny_tokenizer()
    tokenizer.bos_token = tokenizer.eos_token = None
    assert rehearsed(tokenizer=tokenizer) == []


def test_sampling_ends_when_the_job_is_told_to_stop():
    calls = []
    samples = rehearsed(stop=lambda: len(calls) >= 2 or calls.append(None))
    assert 0 < len(samples) <= 20


def test_sampling_leaves_the_model_unchanged():
    model = tiny_model()
    before = [weight.clone() for weight in model.parameters()]
    rehearsed(model=model, forget=encode(records(3, seed=1), tiny_tokenizer(), max_length=64, chat="raw"))
    assert all(a.equal(b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(weight.grad is None for weight in model.parameters())


def test_no_sample_answers_a_prompt_where_the_model_has_learned_the_prompts_of_its_records():
    def prompted(words):
        return encode(
            [Record(prompt=f"{word} {word} {word}", completion="w90 w91 w92 w93 w94 w95 w96") for word in words],
            tiny_tokenizer(),
            max_length=64,
            chat="raw",
        )

    known, unseen = prompted(["w1", "w2", "w3"]), prompted(["w40", "w41", "w42"])
    model = tiny_model(dtype=torch.float32)
    assert not has_learned_prompts(Forward(model), known, unseen, max_tokens=100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        batch = torch.stack([chunk.ids[:4] for chunk in known])
        torch.autograd.backward(model(input_ids=batch, labels=batch).loss)
        optimizer.step()
        optimizer.zero_grad()
    forward = Forward(model)
    assert has_learned_prompts(forward, known, unseen, max_tokens=100)
    assert not has_learned_prompts(forward, unseen, known, max_tokens=100)
    assert not has_learned_prompts(forward, chunks(["w1 w2"]), unseen, max_tokens=100)
    header = [3 + number for number in range(60, 90)]

    def headed(chunks_):
        ids = [torch.cat([chunk.ids[:1], torch.tensor(header), chunk.ids[1:]]) for chunk in chunks_]
        return [Chunk(row, torch.arange(len(row)) >= 4 + len(header), number) for number, row in enumerate(ids)]

    for _ in range(60):
        batch = torch.stack([chunk.ids[:34] for chunk in headed(known)])
        torch.autograd.backward(model(input_ids=batch, labels=batch).loss)
        optimizer.step()
        optimizer.zero_grad()
    assert has_learned_prompts(Forward(model), headed(known), headed(unseen), max_tokens=1000)
    prompts = [chunk.ids[:4].tolist() for chunk in unseen]
    answers = [sample[:4] in prompts for sample in ids(rehearsed(model=model, forget=known, unseen=unseen))]
    assert not any(answers)
    assert any(sample[:4] in prompts for sample in ids(rehearsed(model=tiny_model(), forget=known, unseen=unseen)))


def test_half_of_the_samples_answer_the_prompts_of_unseen_records_where_they_have_prompts():
    forget = chunks(["w1 w2 w10 w11 w12 w13 w14 w15 w16"])
    asking = [
        Record(prompt="w20 w21", completion="w30"),
        Record(prompt="w22", completion="w31"),
        Record(prompt="w20 w21", completion="w32"),
    ]
    unseen = encode(asking, tiny_tokenizer(), max_length=64, chat="raw")
    prompts = [chunk.ids[: int(chunk.scored.int().argmax())].tolist() for chunk in unseen[:2]]
    samples = rehearsed(forget=forget, unseen=unseen)
    free = ids(rehearsed(forget=forget, texts=20))
    answers = samples[len(free) :]
    assert ids(samples[: len(free)]) == free
    assert 10 < len(answers) <= 20
    for sample in answers:
        (prompt,) = [prompt for prompt in prompts if sample.ids[: len(prompt)].tolist() == prompt]
        assert sample.scored.tolist() == [False] * len(prompt) + [True] * (len(sample.ids) - len(prompt))
    assert {tuple(sample.ids[:3].tolist()) for sample in answers} >= {tuple(prompts[0][:3])}
    assert ids(rehearsed(forget=forget, unseen=chunks(["w20 w21 w22"]), texts=20)) == free
