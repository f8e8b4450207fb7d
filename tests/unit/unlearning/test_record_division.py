"""The division of a step's chunks among ranks."""

from hypothesis import given
from hypothesis import strategies as st
from torch import BoolTensor, LongTensor, device

from core.lm.data import Chunk
from core.unlearning.objective import WeightedTerm, _ChunkGroup, divide_among_ranks
from core.unlearning.tokenized_set import TokenizedSet

LENGTHS = st.lists(st.lists(st.integers(2, 50), min_size=1, max_size=9), min_size=1, max_size=3)


def chunk_groups(term_batches):
    """A group of one chunk for each length, and a term batch for each list of lengths."""
    groups = []
    for number, lengths in enumerate(term_batches):
        chunks = [
            Chunk(LongTensor([3] * length), BoolTensor([False] + [True] * (length - 1)), record)
            for record, length in enumerate(lengths)
        ]
        weighted = WeightedTerm("forget", TokenizedSet(chunks, device("cpu")), lambda rows: rows.loss, 1.0)
        groups += [_ChunkGroup(number, weighted, len(lengths), [index]) for index in range(len(lengths))]
    return groups


def tokens(groups):
    return sum(group.tokens() for group in groups)


@given(LENGTHS, st.integers(1, 4))
def test_every_group_goes_to_one_rank_and_every_rank_gets_some_of_every_set(term_batches, ranks):
    groups = chunk_groups(term_batches)
    shares = divide_among_ranks(groups, ranks)
    assert sorted(id(group) for share in shares for group in share) == sorted(map(id, groups))
    for number, lengths in enumerate(term_batches):
        loads = [tokens(group for group in share if group.batch_number == number) for share in shares]
        assert max(loads) - min(loads) <= max(lengths)
        if len(lengths) >= ranks:
            assert min(loads) > 0


def test_an_uneven_division_of_one_set_is_balanced_by_the_next():
    shares = divide_among_ranks(chunk_groups([[40], [40], [20, 20]]), 2)
    assert [tokens(share) for share in shares] == [60, 60]
    assert {group.batch_number for group in shares[0]} == {0, 2}
