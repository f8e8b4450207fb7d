"""The page of the benchmark of methods: its cells and its sentences."""

import csv
from pathlib import Path

import pytest

from benchmarks import methods_page
from benchmarks.machine import Machine
from benchmarks.methods import rows
from benchmarks.methods_page import page, write_figures
from benchmarks.results import ORIGINAL, RETRAINED, Result
from core.schema.evaluation import Attack, Figure, Measurements
from core.unlearning.objectives import METHODS

PUBLIC = {"demo": Path(), "demo-500": Path()}


@pytest.fixture(autouse=True)
def _machine(monkeypatch):
    monkeypatch.setattr(methods_page, "current_machine", lambda: Machine("cpu", "a processor", "none"))


def figure(value, spread=0.1):
    return Figure(value=value, low=value - spread, high=value + spread, records=200)


def result(label, forget, *, retain=1.2, auc=0.5, failure=None):
    if failure:
        return Result(label, None, {}, 0, failure)
    sets = {
        "forget": {"perplexity": figure(forget), "extraction_strength": figure(0.0, 0.01)},
        "retain": {"perplexity": figure(retain), "perplexity_ratio": figure(retain / 1.2, 0.01)},
        "unseen": {"perplexity": figure(40.0)},
    }
    rate = figure(auc, 0.05)
    attacks = {"loss": Attack(auc=rate, tpr_at_1_fpr=rate, tpr_at_5_fpr=rate, roc=[(0.0, 0.0), (1.0, 1.0)])}
    measurements = Measurements(sets=sets, attacks=attacks, seconds=1.0, model_digest=label)
    seconds = {"unlearning": 10.0, "measuring_after": 2.0, "attacking": 3.0}
    return Result(label, measurements, seconds, 300 << 20)


def all_results():
    seeds = {}
    for seed, shift in ((0, 0.0), (1, 2.0)):
        rows_of_seed = [
            result(ORIGINAL, 1.2, auc=1.0),
            result(RETRAINED, 39.0 + shift),
            result("ruin", 1e8, retain=1e7),
            result("stumbled", 0.0, failure="the loss was no finite number"),
        ]
        seeds[seed] = {row.label: row for row in rows_of_seed}
    return {"demo": seeds}


def line(text, label):
    return [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in text.splitlines()
        if row.startswith("|") and row.strip("| ").startswith(label)
    ]


def test_a_cell_is_the_mean_of_the_seeds_and_as_far_as_their_intervals_reach():
    left, kept, attacks = line(page(all_results(), PUBLIC, "unlearn bench methods"), RETRAINED)
    assert "40.0 38.9…41.1" in left
    assert "0.50 0.45…0.55" in attacks
    assert kept[1:4] == ["10.0", "5.0", "300"], "seconds of unlearning, of measuring, memory"


def test_what_nobody_measured_has_no_column_and_what_failed_no_figures():
    text = page(all_results(), PUBLIC, "unlearn bench methods")
    assert "truth ratio" not in text
    assert set(line(text, "stumbled")[0][1:]) == {"–"}
    assert "- stumbled: the loss was no finite number." in text


def test_one_sentence_says_whether_a_method_passes_and_whether_it_wrecks():
    text = page(all_results(), PUBLIC, "unlearn bench methods")
    (sentence,) = [line for line in text.splitlines() if line.startswith("- ruin:")]
    assert "passes the default policy in 0 of 2 seeds" in sentence
    assert "wrecks the model" in sentence
    assert "perplexity-far (2/2)" in sentence
    (retrained_sentence,) = [line for line in text.splitlines() if line.startswith(f"- {RETRAINED}:")]
    assert "wrecks" not in retrained_sentence


def test_every_figure_is_a_line_of_csv(tmp_path):
    write_figures(tmp_path / "figures.csv", all_results())
    lines = list(csv.DictReader((tmp_path / "figures.csv").read_text().splitlines()))
    (figure_line,) = [
        line
        for line in lines
        if (line["seed"], line["row"], line["where"], line["figure"]) == ("1", RETRAINED, "forget", "perplexity")
    ]
    assert tuple(figure_line[name] for name in ("value", "low", "high", "records")) == ("41", "40.9", "41.1", "200")
    assert {line["figure"] for line in lines if line["where"] == "attack"} == {
        "loss.auc",
        "loss.tpr_at_1_fpr",
        "loss.tpr_at_5_fpr",
    }
    assert not [line for line in lines if line["row"] == "stumbled"]


def test_every_method_has_a_row_and_those_of_the_seed_paper_one_for_each_kind_of_text():
    assert {row.method for row in rows()} == set(METHODS)
    assert [row.label for row in rows() if row.method == "ascent_kl"] == [
        "ascent_kl, in-distribution",
        "ascent_kl, general",
    ]


def test_what_was_measured_on_few_records_is_left_out_of_the_verdict_and_that_is_said() -> None:
    results = all_results()
    text = page(results, PUBLIC, "unlearn bench methods")
    assert "†" not in text
    assert "passes the default policy in" in text
    for rows_of_seed in results["demo"].values():
        rows_of_seed["ruin"].measurements.sets["forget"]["exposure_rank"] = figure(0.3).model_copy(
            update={"records": 4}
        )
    text = page(results, PUBLIC, "unlearn bench methods")
    (verdicts, *_) = line(text, "ruin")
    assert verdicts[1].endswith("†")
    assert "†: without the bounds exposure" in text
    assert "- ruin: passes the default policy but for exposure" in text
    assert "- retrained without the forget set: passes the default policy in" in text


def test_methods_that_were_not_made_of_a_data_set_are_named() -> None:
    without_ruin = {
        seed: {label: row for label, row in rows.items() if label != "ruin"}
        for seed, rows in all_results()["demo"].items()
    }
    text = page({**all_results(), "demo-500": without_ruin}, PUBLIC, "unlearn bench methods")
    assert "Not made of demo-500: ruin." in text
    assert "Not made of demo:" not in text
