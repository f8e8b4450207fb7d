"""What each rank gets of a step."""

from hypothesis import given
from hypothesis import strategies as st
from torch import BoolTensor, LongTensor, device

from core.lm.data import Chunk
from core.unlearning.objective import WeightedTerm, _Piece, divide_among_ranks
from core.unlearning.tokenized_set import TokenizedSet

LENGTHS = st.lists(st.lists(st.integers(2, 50), min_size=1, max_size=9), min_size=1, max_size=3)


def pieces(draws):
    """A piece of one chunk for each length, of one draw for each list."""
    found = []
    for number, lengths in enumerate(draws):
        chunks = [
            Chunk(LongTensor([3] * length), BoolTensor([False] + [True] * (length - 1)), record)
            for record, length in enumerate(lengths)
        ]
        part = WeightedTerm("forget", TokenizedSet(chunks, device("cpu")), lambda rows: rows.loss, 1.0)
        found += [_Piece(number, part, len(lengths), [place]) for place in range(len(lengths))]
    return found


@given(LENGTHS, st.integers(1, 4))
def test_every_piece_goes_to_one_rank_and_every_rank_gets_of_every_set(draws, ranks):
    all_pieces = pieces(draws)
    shares = divide_among_ranks(all_pieces, ranks)
    assert sorted(id(piece) for share in shares for piece in share) == sorted(map(id, all_pieces))
    for draw, lengths in enumerate(draws):
        loads = [sum(piece.tokens() for piece in share if piece.draw == draw) for share in shares]
        assert max(loads) - min(loads) <= max(lengths)
        if len(lengths) >= ranks:
            assert min(loads) > 0


def test_what_is_uneven_in_one_set_is_made_up_for_in_the_next():
    shares = divide_among_ranks(pieces([[40], [40], [20, 20]]), 2)
    assert [sum(piece.tokens() for piece in share) for share in shares] == [60, 60]
    assert {piece.draw for piece in shares[0]} == {0, 2}
