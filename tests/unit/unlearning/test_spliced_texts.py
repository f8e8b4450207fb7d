from core.unlearning.method import REHEARSAL_MAX_TOKENS
from core.unlearning.spliced_texts import splice
from core.unlearning.token_runs import RUN, runs_of

TEXTS = [
    [0, 11, 12, 50, 13, 14, 15, 16, 17],
    [0, 21, 22, 50, 23, 24, 60, 25, 26, 27],
    [0, 31, 32, 33, 60, 34, 35, 36],
]


def every_splice(texts):
    """The texts that have the beginning of one and the end of another, by trying every pair of places."""
    made = set()
    for first in texts:
        for second in texts:
            for end in range(1, len(first) - 1):
                for start in range(1, len(second) - 1):
                    if first[end] == second[start]:
                        made.add(tuple((first[: end + 1] + second[start + 1 :])[: len(first)]))
    return {text for text in made if len(text) > RUN} - {tuple(text) for text in texts}


def tokens(spliced):
    return [tuple(chunk.ids.tolist()) for chunk in spliced]


def test_a_text_has_the_beginning_of_one_and_the_end_of_another_from_a_token_that_both_have():
    spliced = splice(TEXTS, (), 50, repetitions=(), seed=1)
    expected = every_splice(TEXTS)
    assert (0, 11, 12, 50, 23, 24, 60, 25, 26) in expected, "no longer than the text that it begins like"
    assert set(tokens(spliced)) == expected
    assert len(spliced) == len(expected), "no two are alike"
    assert [chunk.record for chunk in spliced] == list(range(len(spliced)))
    for chunk in spliced:
        assert chunk.scored.tolist() == [False] + [True] * (len(chunk.ids) - 1)


def test_there_are_at_most_as_many_as_asked_for_and_the_seed_says_which():
    first = tokens(splice(TEXTS, (), 2, repetitions=(), seed=1))
    assert len(first) == 2
    assert tokens(splice(TEXTS, (), 2, repetitions=(), seed=1)) == first
    assert any(tokens(splice(TEXTS, (), 2, repetitions=(), seed=seed)) != first for seed in range(2, 6))


def test_text_to_forget_is_not_scored_and_a_text_with_much_of_it_is_left_out():
    forgotten = set(runs_of([50, 23, 24, 60, 25, 26, 27]))
    spliced = splice(TEXTS, (), 50, repetitions=forgotten, seed=1)
    assert (0, 11, 12, 50, 23, 24, 60, 25, 26) not in tokens(spliced), "six of nine tokens repeat the forget set"
    assert (0, 21, 22, 50, 23, 24, 60, 34, 35, 36) in tokens(spliced), "only four tokens in a row do"
    half = set(runs_of([13, 14, 15, 16, 17]))
    texts = [*TEXTS, [0, 90, 91, 92, 93, 94, 50, 95, 96, 97, 98, 99]]
    wanted = (0, 90, 91, 92, 93, 94, 50, 13, 14, 15, 16, 17)
    (chunk,) = [
        chunk for chunk in splice(texts, (), 80, repetitions=half, seed=1) if tuple(chunk.ids.tolist()) == wanted
    ]
    assert chunk.scored.tolist() == [False] + [True] * 6 + [False] * 5


def test_texts_with_no_token_in_common_give_none():
    assert splice([[0, 1, 2, 3, 4, 5], [0, 6, 7, 8, 9, 10]], (), 5, repetitions=(), seed=1) == []
    assert splice([[0, 1, 2]], (), 5, repetitions=(), seed=1) == []
    assert splice((), (), 5, repetitions=(), seed=1) == []


def test_what_the_model_would_go_on_with_after_the_beginning_of_text_to_forget_is_not_scored():
    """A beginning that ends with four tokens to forget: the fifth would come next, and no other."""
    samples = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 80, 81], [0, 21, 22, 23, 24, 8, 26, 27, 28, 29, 30]]
    spliced = splice(samples, (), 50, repetitions=set(runs_of([5, 6, 7, 8, 9])), seed=1)
    (chunk,) = [chunk for chunk in spliced if chunk.ids.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 26, 27, 28]]
    assert [token for token, scored in zip(chunk.ids.tolist(), chunk.scored.tolist(), strict=True) if not scored] == [
        0,
        26,
    ]


def test_beginnings_and_endings_come_as_often_from_unseen_records_as_from_samples():
    samples = [[0, 100 + number, 50, 200 + number, 1, 2, 3] for number in range(100)]
    unseen = [[0, 300 + number, 50, 400 + number, 4, 5, 6] for number in range(10)]
    texts = tokens(splice(samples, unseen, 300, repetitions=(), seed=1))
    assert len(texts) == 300
    heads = sum(text[1] >= 300 for text in texts) / 300
    tails = sum(text[-1] == 6 for text in texts) / 300
    assert 0.4 < heads < 0.6
    assert 0.4 < tails < 0.6


def test_long_texts_are_spliced_at_their_beginning_and_a_stop_ends_the_work():
    long = [
        [0, *range(1, 2000)],
        [0, *range(1999, 0, -1)],
        [0, *range(5000, 5100), *range(100, 200), *range(6000, 7000)],
    ]
    spliced = splice(long, (), 20, repetitions=(), seed=1)
    assert spliced
    assert max(len(chunk.ids) for chunk in spliced) <= REHEARSAL_MAX_TOKENS
    assert splice(TEXTS, (), 20, repetitions=(), seed=1, should_stop=lambda: True) == []
