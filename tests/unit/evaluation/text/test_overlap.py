"""ROUGE-L and runs of tokens, against worked cases and exhaustive search."""

import random
from itertools import combinations

import pytest

from core.evaluation.text.overlap import WordTokenizer, longest_common_run, rouge_l


def subsequences(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(chosen) for size in range(len(words) + 1) for chosen in combinations(words, size)}


def by_hand(truth: list[str], answer: list[str]) -> tuple[float, float]:
    """ROUGE-L by trying every common subsequence."""
    longest = max(len(common) for common in subsequences(truth) & subsequences(answer))
    recall, precision = longest / len(truth), longest / len(answer)
    return recall, 2 * recall * precision / (recall + precision) if longest else 0.0


def test_rouge_l_of_a_worked_case() -> None:
    # "police ... the gunman" is common to both: Lin's own example
    recall, f1 = rouge_l("police killed the gunman", "police kill the gunman")
    assert (recall, f1) == (0.75, 0.75)
    recall, f1 = rouge_l("police killed the gunman", "the gunman, he answer, police killed")
    assert recall == 2 / 4
    assert f1 == pytest.approx(2 * (2 / 4) * (2 / 6) / (2 / 4 + 2 / 6))


def test_rouge_l_agrees_with_trying_all_subsequences() -> None:
    rng = random.Random(0)
    for _ in range(50):
        truth, answer = ([rng.choice("abcd") for _ in range(rng.randint(1, 7))] for _ in range(2))
        assert rouge_l(" ".join(truth), " ".join(answer)) == pytest.approx(by_hand(truth, answer))


def test_words_are_not_stemmed_and_case_and_punctuation_do_not_count() -> None:
    assert rouge_l("He walks.", "he WALKS!") == (1.0, 1.0)
    assert rouge_l("walking", "walks") == (0.0, 0.0)


def test_rouge_l_of_an_empty_text_is_zero() -> None:
    assert rouge_l("a b", "") == rouge_l("", "a b") == rouge_l("", "") == rouge_l("a", "...") == (0.0, 0.0)


def test_letters_of_every_script_count() -> None:
    tokenize = WordTokenizer().tokenize
    assert tokenize("Müller wohnt in Łódź, Straße_7") == [
        "müller",
        "wohnt",
        "in",
        "łódź",
        "straße",
        "7",
    ]
    assert rouge_l("住在北京", "住在上海")[0] == 0.5
    assert tokenize("東京 Tokyo2 ก") == ["東", "京", "tokyo2", "ก"]
    assert rouge_l("!? :-)", "!?") == pytest.approx((2 / 5, 2 * 0.4 / 1.4))


def test_the_longest_common_run_is_the_longest_slice_of_both() -> None:
    assert longest_common_run([1, 2, 3, 4, 5], [9, 2, 3, 4, 9, 5]) == 3
    assert longest_common_run([1, 1, 1], [1, 1]) == 2
    assert longest_common_run([], [1]) == longest_common_run([1], []) == longest_common_run([1, 2], [3]) == 0
    rng = random.Random(1)
    for _ in range(200):
        first, second = ([rng.randrange(3) for _ in range(rng.randint(1, 9))] for _ in range(2))
        slices = [{tuple(ids[a:b]) for a in range(len(ids)) for b in range(a, len(ids) + 1)} for ids in (first, second)]
        assert longest_common_run(first, second) == max(len(run) for run in slices[0] & slices[1])
