"""The pictures of a report. Each function returns no picture where its figures were not measured."""

from collections.abc import Mapping, Sequence

from api.reports.blocks import Picture
from api.reports.charts.intervals import Row, interval_chart
from api.reports.charts.lines import Panel, Points, curve_chart, roc_chart
from api.reports.charts.svg import Series
from api.reports.sections.limits import limit_on_curve, limits_on_attack, limits_on_set
from core.report.glossary import COPIES, RELEARNED, RELEARNING, SETS, attack_label, figure_words
from core.report.levels import SINGLE_LEVEL, attack_levels
from core.report.numbers import level_text, number_text
from core.schema.evaluation import JUDGED_ATTACKS, Attack, Figure, Measurements, Moment, SetName
from core.schema.report import Report

_EXTRACTION_FIGURES = (
    *("extraction_strength", "extraction_strength_highest", "verbatim_recall", "verbatim_recall_highest"),
    *("sampled_leak_recall", "leak_at_k", "leak_rate_highest", "prefix_recall", "paraphrase_recall"),
    *("cloze", "cloze_highest", "cloze_sampled", "cloze_fill", "cloze_fill_sampled"),
)
_MOMENTS: tuple[Moment, ...] = ("before", "after", "retrained")
_LABELS: Mapping[str, Mapping[Series, str]] = {
    "unlearn": {
        "before": "before the job",
        "after": "after the job",
        "retrained": "retrained model",
        "unseen": "before the job, on unseen text",
    },
    "preview": {"before": "the model", "retrained": "retrained model", "unseen": "the model, on unseen text"},
    "measure": {"before": "the original model", "after": "the measured model", "retrained": "retrained model"},
}
_COPIES: Sequence[tuple[str | None, str]] = ((None, "the model itself"), *COPIES.items())
_INTERVALS = "The bars are 95 % intervals."
_BRACKETS = "A bracket is a limit of the policy for the model after the job, and opens to the allowed side."
_UNSEEN_RELEARNS = (
    " The dotted curve with squares is text that the model had not seen before the job, in the same copy: such training"
    " makes all text of this kind more familiar."
)


def series_labels(report: Report) -> Mapping[Series, str]:
    """Returns the names of the measured models, for a legend or for columns."""
    return _LABELS[report.kind]


def extraction(report: Report) -> list[Picture]:
    """How much of the text comes out, by each test."""
    rows = [
        Row(figure_words(name), figures, limits_on_set(report, "forget", name))
        for name in _EXTRACTION_FIGURES
        if (figures := _figures_of_forget_set(report, name))
    ]
    if not rows:
        return []
    title = "How much of the text to forget comes out of the model"
    svg = interval_chart(title, rows, series_labels(report), axis="share that comes out (0: nothing, 1: everything)")
    caption = f"{title}, by each test. {_intervals_text(rows)} {_yardstick_text(report)}"
    return [Picture(svg, _alt(title, rows), caption.strip())]


def perplexities(report: Report) -> list[Picture]:
    """How much each set surprises each model."""
    sets: tuple[SetName, ...] = ("forget", "unseen", "retain", "general", "probes", "protected")
    rows = [
        Row(SETS[name], figures, limits_on_set(report, name, "perplexity"))
        for name in sets
        if (figures := _figures(report, name, "perplexity"))
    ]
    if not rows:
        return []
    title = "How much each kind of text surprises the model"
    svg = interval_chart(title, rows, series_labels(report), axis="perplexity (1: known by heart)", log=True)
    caption = (
        f"{title} (perplexity). The text to forget should move to where unseen text lies; everything else should stay"
        f" where it was. {_intervals_text(rows)} The scale is logarithmic."
    )
    return [Picture(svg, _alt(title, rows), caption)]


def attack_scores(report: Report) -> list[Picture]:
    """The AUC of each membership attack."""
    names = list(dict.fromkeys(name for measured in _measured(report).values() for name in measured.attacks))
    judged = [name for name in names if name in JUDGED_ATTACKS] or names
    levels = {attack_levels(report.figures).get(name) for name in judged}
    level = levels.pop() if report.verdict is not None and len(levels) == 1 else None
    rows = [
        Row(
            attack_label(name),
            {
                moment: _auc(measured.attacks[name], joint=level is not None)
                for moment, measured in _measured(report).items()
                if name in measured.attacks
            },
            limits_on_attack(report, name),
        )
        for name in judged
    ]
    if not rows:
        return []
    title = "How well attackers tell the text to forget from unseen text"
    svg = interval_chart(title, rows, series_labels(report), axis="AUC (0.5: guessing, 1: always right)", guide=0.5)
    bars = f"The bars are {level_text(level or SINGLE_LEVEL)} intervals{', as in the tests below' if level else ''}."
    limits = f" {_BRACKETS}" if any(row.limits for row in rows) else ""
    caption = f"{title}. The dashed line is guessing: the nearer to it, the better. {bars}{limits}"
    return [Picture(svg, _alt(title, rows), caption)]


def attack_curves(report: Report) -> list[Picture]:
    """The ROC curve of each judged attack."""
    measured = _measured(report)
    panels = [
        Panel(name, {moment: of.attacks[name].roc for moment, of in measured.items() if name in of.attacks})
        for name in JUDGED_ATTACKS
        if any(name in of.attacks for of in measured.values())
    ]
    if not panels:
        return []
    title = "ROC curves of the membership attacks"
    caption = (
        f"{title}. Upwards: the share of the text to forget that the attacker finds. To the right: the share of unseen"
        " text that it wrongly takes for it. On the dashed diagonal the attacker only guesses. The names are those of"
        " the attacks in the picture before."
    )
    alt = f"{title}: {', '.join(panel.title for panel in panels)}. The scores are in the picture before."
    return [Picture(roc_chart(title, panels, series_labels(report)), alt, caption)]


def quantised_copies(report: Report) -> list[Picture]:
    """Extraction strength and perplexity of the text to forget, of the model and of its copies with fewer bits."""
    shown = []
    for name, axis, log in (
        ("extraction_strength", "extraction strength (0: nothing comes out)", False),
        ("perplexity", "perplexity (1: known by heart)", True),
    ):
        rows = [
            Row(words, figures, limits_on_set(report, "forget", name, variant))
            for variant, words in _COPIES
            if (figures := _figures(report, "forget", name, variant))
        ]
        if len(rows) < 2:
            continue
        title = f"{figure_words(name).capitalize()} of the text to forget, in copies of the model"
        svg = interval_chart(title, rows, series_labels(report), axis=axis, log=log, at_least=(0.0, 0.1))
        caption = (
            f"{title}. A copy with fewer digits must not bring back what the model itself has forgotten."
            f" {_intervals_text(rows)}"
        )
        shown.append(Picture(svg, _alt(title, rows), caption))
    return shown


def relearning(report: Report) -> list[Picture]:
    """How fast the text comes back when a copy of the model is trained further."""
    shown = []
    for attack, words in RELEARNING.items():
        curve = f"{RELEARNED}{attack}"
        curves: dict[Series, Points] = {
            moment: [(point.step, point.figure.value) for point in measured.curves[curve]]
            for moment, measured in _measured(report).items()
            if measured.curves.get(curve)
        }
        if not curves:
            continue
        labels = dict(series_labels(report))
        if attack == "forget" and (unseen := _relearned_unseen(report)):
            curves["unseen"], labels["unseen"] = unseen, f"{labels['after']}, on unseen text"
        limit = limit_on_curve(report, curve)
        title = f"Perplexity of the text to forget while a copy of the model is trained on {words}"
        svg = curve_chart(
            title, curves, labels, across="steps of training", upwards="perplexity", log=True, limit=limit
        )
        caption = (
            f"{title}. The faster it falls, the faster the text comes back. A model that has never seen the text learns"
            " it too, in its own time: only a curve that falls faster than that shows something hidden."
            f"{_UNSEEN_RELEARNS if 'unseen' in curves else ''}"
            f"{' The dashed black curve is the policy’s limit.' if limit else ''}"
        )
        ends = "; ".join(
            f"{labels[series]}: from {number_text(points[0][1])} to {number_text(points[-1][1])}"
            for series, points in curves.items()
        )
        shown.append(Picture(svg, f"{title}: {ends}.", caption))
    return shown


def _intervals_text(rows: Sequence[Row]) -> str:
    return f"{_INTERVALS} {_BRACKETS}" if any(row.limits for row in rows) else _INTERVALS


def _auc(attack: Attack, *, joint: bool) -> Figure:
    """The AUC, with the interval at which all judged attacks hold together, or with its own."""
    if not joint or attack.joint is None:
        return attack.auc
    return attack.auc.model_copy(update={"low": attack.joint[0], "high": attack.joint[1]})


def _relearned_unseen(report: Report) -> Points:
    after = report.figures.after
    points = [] if after is None else after.curves.get("relearned_unseen", [])
    return [(point.step, point.figure.value) for point in points]


def _measured(report: Report) -> dict[Moment, Measurements]:
    """The measured models, in the order in which they are shown."""
    models = {moment: getattr(report.figures, moment) for moment in _MOMENTS if moment in series_labels(report)}
    return {moment: model for moment, model in models.items() if model is not None}


def _figures(report: Report, name: SetName, figure: str, variant: str | None = None) -> dict[Series, Figure]:
    found: dict[Series, Figure] = {}
    for moment, measured in _measured(report).items():
        sets = measured.sets if variant is None else measured.variants.get(variant, {})
        if figure in sets.get(name, {}):
            found[moment] = sets[name][figure]
    return found


def _figures_of_forget_set(report: Report, figure: str) -> dict[Series, Figure]:
    """The figure of the text to forget; without a retrained model, that of unseen text stands beside it."""
    found = _figures(report, "forget", figure)
    before = report.figures.before
    if found and before is not None and report.figures.retrained is None and "unseen" in series_labels(report):
        unseen = before.sets.get("unseen", {}).get(figure)
        if unseen is not None:
            found["unseen"] = unseen
    return found


def _yardstick_text(report: Report) -> str:
    if report.figures.retrained is not None:
        return "The retrained model never saw the text: what it gives back by chance is the measure."
    if report.figures.before is not None and "unseen" in report.figures.before.sets and report.kind != "measure":
        return (
            "What the model before the job gave back of text that it had not seen, by chance, is the measure. A figure"
            " near that of unseen text is the aim; one far below it may itself show that the text was treated."
        )
    return "Lower is better."


def _alt(title: str, rows: Sequence[Row]) -> str:
    values = "; ".join(
        f"{row.label}: {', '.join(f'{series} {number_text(figure.value)}' for series, figure in row.figures.items())}"
        for row in rows
    )
    return f"{title}. {values}."
