import stat

import pytest

from core.lm.data import Chunk, encode
from core.lm.forward import Forward
from core.schema.record import Record
from core.unlearning.method import REHEARSAL_MAX_TOKENS, rehearsal_length
from core.unlearning.rehearsal import rehearse
from core.unlearning.rehearsal_cache import JobSamples, RehearsalCache, SampleSettings
from tests.unit.lm.tiny import tiny_model, tiny_tokenizer
from tests.unit.unlearning.run import example_sets, plain_training, run, weights

KEY, JOB_KEY = bytes(range(32)), bytes(range(1, 33))
LENGTH = 16
LONG_FORGET = ["w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14"]


@pytest.fixture
def cache(tmp_path):
    return RehearsalCache(tmp_path / "samples", KEY, "model 1")


def rehearsed(cache, *, texts=40, seed=1, temperature=1.0, may_write=True, forget=LONG_FORGET, extra=(), first=None):
    """The token ids of each sample; with `may_write=False` only of samples that need not be written."""
    chunks = encode([Record(text=text) for text in forget], tiny_tokenizer(), max_length=64, chat="raw")
    samples = rehearse(
        Forward(tiny_model()),
        tiny_tokenizer(),
        texts=texts,
        temperature=temperature,
        first_temperature=first,
        seed=seed,
        forget=[*chunks, *extra],
        retain_chunks=(),
        max_tokens=100,
        should_stop=lambda: not may_write,
        cache=cache,
    )
    return [sample.ids.tolist() for sample in samples]


def settings(seed=1):
    return SampleSettings(1.0, seed, LENGTH)


def barred_run(samples):
    """A run of tokens of the first sample that is long enough, and the sample's number."""
    number = next(number for number, sample in enumerate(samples) if len(sample) == LENGTH)
    return tuple(samples[number][2:7]), number


def test_a_later_job_writes_no_sample_that_is_kept(cache):
    written = rehearsed(cache)
    assert len(written) > 20
    assert rehearsed(cache, may_write=False) == written == rehearsed(None)


@pytest.mark.parametrize("first", [None, 8.0])
def test_too_few_samples_are_extended_and_not_written_anew(cache, first):
    few = rehearsed(cache, texts=15, first=first)
    cached = rehearsed(cache, texts=40, may_write=False, first=first)
    assert cached == few
    assert rehearsed(cache, texts=40, first=first) == rehearsed(None, texts=40, first=first)
    assert rehearsed(cache, texts=15, may_write=False, first=first) == few


def test_samples_of_another_model_seed_temperature_or_length_are_not_used(cache):
    rehearsed(cache)
    assert rehearsed(cache.of_model("model 2"), may_write=False) == []
    assert rehearsed(cache, seed=2, may_write=False) == []
    assert rehearsed(cache, temperature=0.5, may_write=False) == []
    assert rehearsed(cache, forget=["w0 w1 w2"], may_write=False) == []
    assert rehearsed(cache, forget=[f"{LONG_FORGET[0]} w15"], may_write=False) == [], "17 tokens, of samples of 20"
    assert len(rehearsed(cache, forget=[LONG_FORGET[0].removesuffix(" w14")], may_write=False)) > 20, "15 tokens"


@pytest.mark.parametrize(
    ("tokens", "length"), [(1, 1), (7, 7), (9, 10), (10, 10), (44, 48), (75, 80), (129, 160), (999, 256)]
)
def test_the_length_of_samples_is_at_most_a_quarter_above_the_forget_sets(tokens, length):
    assert rehearsal_length(tokens) == length
    assert length <= 1.25 * tokens
    assert length <= REHEARSAL_MAX_TOKENS


def test_without_the_key_nothing_can_be_read_and_the_folder_is_private(cache):
    rehearsed(cache)
    files = list(cache.folder.iterdir())
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert not any(b"PK" in file.read_bytes()[:64] for file in files), "no archive lies in the clear"
    assert rehearsed(RehearsalCache(cache.folder, bytes(32), "model 1"), may_write=False) == []


def test_a_damaged_file_is_written_again(cache):
    written = rehearsed(cache)
    (file,) = cache.folder.glob("*.samples")
    file.write_bytes(file.read_bytes()[:-1])
    assert rehearsed(cache, may_write=False) == []
    assert rehearsed(cache) == written


def test_samples_with_a_forgotten_run_are_dropped_for_good_and_later_ones_take_their_places(cache):
    everything = rehearsed(None, texts=60)
    rehearsed(cache, texts=40)
    run, number = barred_run(everything)
    cache.bar({run})
    assert cache.load(settings())[number] is None
    assert [sample for sample in cache.load(settings()) if sample is not None and run in windows(sample)] == []
    left = rehearsed(cache, texts=40)
    assert left == [sample for sample in everything if run not in windows(sample)][: len(left)]
    assert len(left) >= 38

    fresh = RehearsalCache(cache.folder, KEY, "another state of the model")
    assert everything[number] in rehearsed(fresh, texts=40), "the job itself decides what it uses of a sample"
    assert fresh.load(settings())[number] is None, "but nobody finds it later"


def windows(sample):
    return [tuple(sample[start : start + 5]) for start in range(1, len(sample) - 4)]


def test_the_list_of_forgotten_runs_holds_none_of_their_tokens(cache):
    run = (1234567, 2345678, 3456789, 4567891, 5678912)
    cache.bar({run})
    content = cache._open(cache.folder / "barred")
    assert len(content) == 8
    assert not any(token.to_bytes(4, "little")[:3] in content for token in run)


def test_samples_that_nobody_can_read_are_deleted_when_a_text_is_forgotten(cache):
    rehearsed(cache)
    other_key = RehearsalCache(cache.folder, bytes(32), "model 1")
    other_key.bar({(1, 2, 3, 4, 5)})
    assert list(cache.folder.glob("*.samples")) == []


def test_an_interrupted_job_goes_on_with_its_samples_though_some_were_dropped_meanwhile(cache, tmp_path):
    job = RehearsalCache(cache.folder, KEY, "model 1", JobSamples(tmp_path / "job", JOB_KEY))
    first = rehearsed(job)
    run, number = barred_run(first)
    cache.bar({run})
    assert rehearsed(job, may_write=False) == first
    assert first[number] not in rehearsed(cache)


def test_the_samples_of_a_job_open_with_the_jobs_key_alone(cache, tmp_path):
    job = RehearsalCache(cache.folder, KEY, "model 1", JobSamples(tmp_path / "job", JOB_KEY))
    settings = SampleSettings(temperature=1.0, seed=1, length=8)
    job.keep_for_job(settings, [[1, 2, 3]])
    assert job.job_samples(settings) == [[1, 2, 3]]
    without_key = RehearsalCache(cache.folder, KEY, "model 1", JobSamples(tmp_path / "job", KEY))
    assert without_key.job_samples(settings) is None


def test_a_job_that_was_stopped_while_it_wrote_goes_on_where_it_stopped(cache, tmp_path):
    job = RehearsalCache(cache.folder, KEY, "model 1", JobSamples(tmp_path / "job", JOB_KEY))
    calls = []
    chunks = encode([Record(text=LONG_FORGET[0])], tiny_tokenizer(), max_length=64, chat="raw")
    rehearse(
        Forward(tiny_model()),
        tiny_tokenizer(),
        texts=40,
        temperature=1.0,
        seed=1,
        forget=chunks,
        retain_chunks=(),
        max_tokens=100,
        should_stop=lambda: len(calls) >= 2 or calls.append(None),
        cache=job,
    )
    begun = rehearsed(job, may_write=False)
    assert 0 < len(begun) <= 12
    assert rehearsed(job) == rehearsed(None)
    assert rehearsed(job)[: len(begun)] == begun


def test_a_sample_that_shares_a_little_with_the_forget_set_is_used_but_not_kept_for_later_jobs(cache):
    everything = rehearsed(None, texts=40)
    run, number = barred_run(everything)
    tokens = encode([Record(text="w0 w1 w2 w3 w4 w5")], tiny_tokenizer(), max_length=64, chat="raw")[0]
    ids = tokens.ids.clone()
    ids[1:6] = ids.new_tensor(run)
    cache.bar({run})
    assert everything[number] in rehearsed(cache, extra=[Chunk(ids, tokens.scored, 1)])
    assert cache.load(settings())[number] is None


def test_training_on_kept_samples_gives_the_weights_of_training_on_written_ones(cache):
    trained = []
    for rehearsal_cache in (None, cache, cache):
        sets = example_sets()
        sets.rehearsal_cache = rehearsal_cache
        model, _ = run("calibrated", training=plain_training(records_per_step=3), sets=sets)
        trained.append(weights(model))
    assert all(a.equal(b) and a.equal(c) for a, b, c in zip(*trained, strict=True))
