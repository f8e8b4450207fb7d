"""An interrupted training ends like an undisturbed one: the same weights and counts, bit for bit."""

import contextlib
import random
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.lm.fingerprint import Fingerprint
from core.lm.snapshots import Snapshots
from core.schema.training import Lora
from core.unlearning import snapshot_policy
from core.unlearning.objectives import METHODS
from core.unlearning.trainer import JobCancelled, JobPaused
from tests.unit.lm.tiny import tiny_model
from tests.unit.unlearning.run import example_sets, plain_training, run, weights

STEPS = 4
"""Two epochs of two steps, the second step of each smaller than the first."""


def training(**changes):
    settings = {"optimizer": "adamw", "learning_rate": 1e-3, "epochs": 2, "records_per_step": 3, "scheduler": "cosine"}
    return plain_training(**(settings | {"warmup": 0.3, "snapshot_every": 0} | changes))


class Attempts:
    """Attempts at one job, which share the snapshots. Each begins with the original model."""

    def __init__(self, folder, method, parameters=None, *, sets=None, model=None, **changes):
        self.folder, self.method, self.parameters = folder, method, parameters
        self.sets, self.changes = sets or example_sets(), changes
        self.model = model or (lambda: tiny_model(dtype=torch.float32))
        self.fence = 0
        self.events = []

    def __call__(self, *, pause_after=None, stop_after=None, keep=True):
        """Returns weights and result, or the newest snapshot's step where the attempt was paused."""
        self.fence += 1
        self.events = []
        report = self.events.append
        fingerprint = Fingerprint({}, b"")
        snapshots = Snapshots(self.folder, self.fence, fingerprint, key=bytes(32), report=report) if keep else None
        for seed in (random.seed, np.random.seed, torch.manual_seed):  # a new process has other random states
            seed(self.fence)
        model = self.model()

        def reached(steps):
            reached_steps = [event.step for event in self.events if event.kind in ("progress", "resumed")]
            return steps is not None and max(reached_steps, default=0) >= steps

        try:
            _, result = run(
                self.method,
                self.parameters,
                model=model,
                sets=self.sets,
                training=training(**self.changes),
                events=self.events,
                stop=lambda: reached(stop_after),
                should_pause=lambda: reached(pause_after),
                snapshots=snapshots,
            )
        except JobPaused as paused:
            return paused.step
        return weights(model), result

    def event_counts(self):
        return Counter(event.kind for event in self.events)


def same(outcome, other):
    return outcome[1] == other[1] and all(a.equal(b) for a, b in zip(outcome[0], other[0], strict=True))


@pytest.mark.parametrize("method", list(METHODS))
def test_a_training_paused_after_every_step_ends_like_an_undisturbed_one(method, tmp_path):
    attempt = Attempts(tmp_path, method)
    undisturbed = attempt(keep=False)
    for step in range(STEPS + 1):
        assert attempt(pause_after=step) == step
    resumed = attempt()
    assert same(resumed, undisturbed)
    assert attempt.event_counts()["resumed"] == 1
    assert attempt.event_counts()["progress"] == 0  # no update was left


@pytest.mark.parametrize(
    ("method", "parameters", "changes"),
    [
        ("random_label", {"redraw": "every_epoch", "retain_term": "kl"}, {}),
        ("random_label", {"reference": "random_model", "redraw": "every_epoch"}, {}),
        ("ascent_kl", {}, {"optimizer": "sgd"}),
        ("ascent_kl", {}, {"precision": "bfloat16", "micro_batch_tokens": 40}),
        ("ascent_kl", {}, {"lora": Lora(rank=2)}),
        ("ascent_kl", {}, {"trainable": ["model.layers.1.*"], "checkpointing": True}),
        ("gradient_ascent", {}, {"master_weights": "bfloat16"}),
        ("ascent_descent", {"retain_ratio": 2.5}, {"weight_decay": 0.1, "gradient_clip": 0.01}),
    ],
)
def test_paused_trainings_with_other_settings_end_like_undisturbed_ones(method, parameters, changes, tmp_path):
    dtype = getattr(torch, changes.get("master_weights", "float32"))
    attempt = Attempts(tmp_path, method, parameters, model=lambda: tiny_model(dtype=dtype), **changes)
    undisturbed = attempt(keep=False)
    for step in (1, 3):
        assert attempt(pause_after=step) == step
    assert same(attempt(), undisturbed)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.tuples(st.booleans(), st.integers(0, 6)), max_size=4), every=st.integers(0, 3))
def test_a_training_interrupted_in_any_way_ends_like_an_undisturbed_one(tmp_path_factory, stops, every):
    """Paused, or lost without a snapshot: then the updates since the last snapshot are made again."""
    attempt = Attempts(tmp_path_factory.mktemp("job"), "ascent_descent", epochs=3, snapshot_every=every)
    undisturbed = attempt(keep=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot_policy, "_SHARE", 0)
        for pauses, step in stops:
            if pauses:
                assert attempt(pause_after=step) in range(step, 7)
            else:
                with pytest.raises(JobCancelled):
                    attempt(stop_after=step)
        assert same(attempt(), undisturbed)


def test_snapshots_hold_trained_weights_only(tmp_path):
    attempt = Attempts(tmp_path, "gradient_ascent", trainable=["model.layers.1.*"])
    attempt(pause_after=2)
    snapshot = Snapshots(tmp_path, 9, Fingerprint({}, b""), key=bytes(32), report=lambda event: None).newest()
    names = [name for name, _ in snapshot.tensors() if name.startswith("weight/")]
    assert names
    assert all("layers.1" in name for name in names)


def test_random_states_are_restored(tmp_path):
    """Draws from the global generators after resuming are those of an undisturbed training."""
    drawn = []

    class Events(list):
        def append(self, event):
            super().append(event)
            if event.kind == "progress":
                drawn.append((event.step, random.random(), np.random.rand(), float(torch.rand(()))))

    def attempt(fence, pause_after=STEPS + 1):
        events = Events()
        snapshots = Snapshots(tmp_path, fence, Fingerprint({}, b""), key=bytes(32), report=lambda event: None)
        with contextlib.suppress(JobPaused):
            run(
                "gradient_ascent",
                training=training(),
                events=events,
                should_pause=lambda: drawn != [] and drawn[-1][0] == pause_after,
                snapshots=snapshots,
            )

    for seed in (random.seed, np.random.seed):
        seed(7)
    attempt(1, pause_after=2)
    for seed in (random.seed, np.random.seed):
        seed(8)  # another process
    attempt(2)
    resumed = list(drawn)
    drawn.clear()
    shutil.rmtree(tmp_path)
    for seed in (random.seed, np.random.seed):
        seed(7)
    attempt(1)
    assert resumed == drawn


def test_snapshots_are_taken_as_often_as_requested_unless_writing_is_slow(tmp_path, monkeypatch):
    def snapshot_steps(**changes):
        attempt = Attempts(tmp_path / str(len(list(tmp_path.iterdir()))), "gradient_ascent", **changes)
        attempt()
        return [event.step for event in attempt.events if event.kind == "snapshot"]

    tmp_path.mkdir(exist_ok=True)
    monkeypatch.setattr(snapshot_policy, "_SHARE", 0)
    assert snapshot_steps(snapshot_every=3, epochs=4) == [3, 6]
    assert snapshot_steps(snapshot_every=0) == []
    assert snapshot_steps(snapshot_every=99) == []
    monkeypatch.setattr(snapshot_policy, "_SECONDS", 0.0)
    assert snapshot_steps(snapshot_every=99) == [1, 2, 3, 4]
    monkeypatch.setattr(snapshot_policy, "_SHARE", 1e6)
    assert snapshot_steps(snapshot_every=1) == [1]


def test_a_full_disk_does_not_end_the_training(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    attempt = Attempts(tmp_path / "file", "gradient_ascent", snapshot_every=1)
    undisturbed = Attempts(tmp_path, "gradient_ascent")(keep=False)
    assert same(attempt(), undisturbed)
    assert attempt.event_counts()["warning"] == 1  # it is not tried again after every update
    assert attempt(pause_after=2) == 0


def test_a_pause_without_snapshots_saves_nothing(tmp_path):
    assert Attempts(tmp_path, "gradient_ascent")(keep=False, pause_after=2) == 0
