import pytest
import torch
from torch.nn.functional import huber_loss

from core.lm.data import Chunk
from core.unlearning.calibration import CalibratedTerm, match_by_rank, quantiles, records_to_move, transport_distance
from core.unlearning.objective import Rows
from core.unlearning.tokenized_set import TokenizedSet


def test_a_record_is_matched_to_the_unseen_record_of_the_same_rank():
    forget = torch.tensor([0.3, 0.1, 0.2])
    unseen = torch.tensor([9.0, 7.0, 8.0])
    assert match_by_rank(forget, unseen).tolist() == [0, 1, 2]


def test_ranks_spread_over_a_larger_and_over_a_smaller_unseen_set():
    assert match_by_rank(torch.tensor([1.0, 2.0]), torch.arange(10.0)).tolist() == [2, 7], "quantiles 1/4 and 3/4"
    assert match_by_rank(torch.arange(6.0), torch.tensor([5.0, 4.0])).tolist() == [1, 1, 1, 0, 0, 0]
    assert match_by_rank(torch.tensor([1.0]), torch.arange(5.0)).tolist() == [2], "one record goes to the median"


def test_equal_losses_keep_the_records_order():
    assert match_by_rank(torch.zeros(4), torch.zeros(4)).tolist() == [0, 1, 2, 3]


def test_quantiles_are_the_sorted_losses_thinned_or_repeated():
    losses = torch.tensor([4.0, 1.0, 3.0, 2.0])
    assert quantiles(losses, 4).tolist() == [1, 2, 3, 4]
    assert quantiles(losses, 2).tolist() == [2, 4]
    assert quantiles(losses, 8).tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert quantiles(losses, 1).tolist() == [3]


def test_records_as_unlikely_as_unseen_text_are_left_alone_and_the_others_take_the_whole_range():
    unseen = torch.tensor([2.0, 3.0, 4.0, 5.0])
    assert records_to_move(torch.tensor([9.0, 0.1, 7.0, 0.2]), unseen).tolist() == [1, 3]
    assert records_to_move(torch.tensor([9.0, 5.0]), unseen).tolist() == []
    assert records_to_move(torch.tensor([0.1, 4.1]), unseen).tolist() == [0, 1], "4.1 is less than its target, 5"
    assert records_to_move(torch.tensor([3.9]), unseen).tolist() == [0], "one record's target is the median, 4"


def test_an_unknown_record_adds_nothing():
    forget, unseen = tokenized([2, 1]), tokenized([2, 2])
    values = {
        id(forget): torch.tensor([[50.0, 7.0], [40.0, 6.0], [1.0, 0.0]]),
        id(unseen): torch.tensor([[9.0, 1.0], [8.0, 4.0], [2.0, 0.0], [3.0, 2.0]]),
    }
    unknown_first = CalibratedTerm(
        forget,
        unseen,
        reference=lambda tokenized: values[id(tokenized)],
        current=lambda unseen, records: torch.zeros(2 * len(records), 2),
        following=1.0,
        entropy_weight=1.0,
        smoothing=0.0,
    )
    unknown_first.update_targets([0])
    assert distances(unknown_first, [30.0, 20.0, 8.0], (1.0, 2.0, 3.0)) == [0, 0, 2], (
        "the known record: 9 - 8 and 4 - 3"
    )


def tokenized(counts):
    """A set of records with so many scored tokens each."""
    chunks = []
    for record, count in enumerate(counts):
        ids = torch.arange(count + 1)
        chunks.append(Chunk(ids, ids > 0, record))
    return TokenizedSet(chunks, torch.device("cpu"))


def term(*, following, current=None, entropy_weight=0.0, smoothing=0.0):
    """Two forget records of 2 and 1 tokens with losses 5, 5 and 1; two unseen records of 2 tokens with losses 9, 8 and
    2, 3 and entropies 1, 4 and 0, 2."""
    forget, unseen = tokenized([2, 1]), tokenized([2, 2])
    unseen_values = torch.tensor([[9.0, 1.0], [8.0, 4.0], [2.0, 0.0], [3.0, 2.0]])
    values = {id(forget): torch.tensor([[5.0, 0.0], [5.0, 0.0], [1.0, 0.0]]), id(unseen): unseen_values}
    return CalibratedTerm(
        forget,
        unseen,
        reference=lambda tokenized: values[id(tokenized)],
        current=current,
        following=following,
        entropy_weight=entropy_weight,
        smoothing=smoothing,
    )


def distances(term, losses, entropies=(0.0, 0.0, 0.0)):
    index = torch.arange(3)
    given = {"given_loss": torch.tensor(losses), "given_entropy": torch.tensor(entropies)}
    rows = Rows(index, torch.tensor([0, 0, 1]), index < 0, index, 0, **given)
    return term(rows).tolist()


def test_losses_and_entropies_have_targets_each_sorted_by_itself():
    loss_and_entropy = term(following=0.0, entropy_weight=0.5)
    assert distances(loss_and_entropy, [9.0, 8.0, 3.0], (4.0, 1.0, 2.0)) == [0, 0, 0]
    assert distances(loss_and_entropy, [9.0, 8.0, 3.0], (0.0, 0.0, 0.0)) == [0.5, 2, 1]


def test_targets_ascend_within_each_record_and_come_from_its_match():
    assert distances(term(following=0.0), [8.0, 9.0, 3.0]) == [0, 0, 0]
    assert distances(term(following=0.0), [0.0, 0.0, 0.0]) == [8, 9, 3]


def test_targets_move_with_the_model_for_the_records_of_the_update():
    requests = []

    def current(unseen, records):
        requests.append(list(records))
        losses = torch.tensor([[6.0, 4.0], [1.0, 1.0]])[list(records)].flatten()
        return torch.stack([losses, 10 * losses], dim=1)

    half_moving = term(following=0.5, current=current)
    assert distances(half_moving, [0.0, 0.0, 0.0]) == [8, 9, 3]
    half_moving.update_targets([0])
    assert distances(half_moving, [0.0, 0.0, 0.0]) == [6, 7.5, 3], (
        "half way from 8, 9 to 4, 6; record 1 is not in the update"
    )
    half_moving.update_targets([1, 0])
    assert distances(half_moving, [0.0, 0.0, 0.0]) == [6, 7.5, 2]
    assert requests == [[0], [0, 1]]
    loss_and_entropy = term(following=1.0, current=current, entropy_weight=1.0)
    loss_and_entropy.update_targets([0])
    assert distances(loss_and_entropy, [6.0, 4.0, 3.0]) == [40, 60, 2], (
        "entropies move, too; record 1 is not in the update"
    )


def test_fixed_targets_need_no_present_values():
    term(following=0.0).update_targets([0, 1])


def test_transport_compares_sorted_losses_within_each_record():
    losses = torch.tensor([3.0, 1.0, 2.0, 10.0, 0.0], requires_grad=True)
    targets = torch.tensor([1.0, 2.0, 4.0, 1.0, 1.0])
    record = torch.tensor([4, 4, 4, 7, 7])
    distances = transport_distance(losses, targets, record, 0)
    assert distances.tolist() == [0, 0, 1, 1, 9]
    distances.sum().backward()
    assert losses.grad.tolist() == [-1, 0, 0, 1, -1], "each loss is pulled towards its own target"


def test_the_pull_fades_near_the_target():
    losses = torch.tensor([0.0, 2.5, 9.0], dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    distances = transport_distance(losses, targets, torch.tensor([0, 0, 0]), 2)
    assert distances.tolist() == [1 / 4, 0.25 / 4, 5 - 1], "d²/2δ for 1 and 0.5, |d| - δ/2 for 5"
    assert torch.equal(distances, huber_loss(losses, targets, reduction="none", delta=2) / 2)
    distances.sum().backward()
    assert losses.grad.tolist() == [-0.5, 0.25, 1]


def test_smoothing_reaches_losses_and_entropies():
    smooth = term(following=0.0, entropy_weight=1.0, smoothing=4.0)
    assert distances(smooth, [9.0, 8.0, 3.0], (4.0, 1.0, 0.0)) == [0, 0, 2 * 2 / 8]
    assert distances(smooth, [9.0, 8.0, 1.0], (4.0, 1.0, 2.0)) == [0, 0, 2 * 2 / 8]


def test_a_record_at_its_targets_is_left_alone():
    losses = torch.tensor([2.0, 1.0], requires_grad=True)
    transport_distance(losses, torch.tensor([1.0, 2.0]), torch.tensor([0, 0]), 2).sum().backward()
    assert losses.grad.tolist() == pytest.approx([0, 0])
