"""The relearning attack that brought most of the text back, in words."""

from core.report.glossary import RELEARNED, RELEARNING
from core.report.numbers import interval_text, number_text, records_text
from core.schema.evaluation import Measurements, StepFigure
from core.schema.figure_names import RELEARNED_WORST, RelearningAttackName
from core.schema.report import Report, ReportRelearning


def find_worst(report: Report) -> ReportRelearning | None:
    """Returns the attack and step with the lowest perplexity of the text to forget; None: no attack made a step."""
    after = report.figures.after
    if after is None:
        return None
    points = [
        (attack, point) for attack in RELEARNING for point in after.curves.get(f"{RELEARNED}{attack}", []) if point.step
    ]
    if not points:
        return None
    attack, point = min(points, key=lambda found: found[1].figure.value)
    attacks = len({found for found, _ in points})
    return ReportRelearning(
        attack=attack,
        steps=point.step,
        figure=point.figure,
        attacks=attacks,
        answer=" ".join(filter(None, (_worst(attack, point, attacks), _beside(after, report, attack, point.step)))),
    )


def _worst(attack: RelearningAttackName, point: StepFigure, attacks: int) -> str:
    interval = interval_text(point.figure.low, point.figure.high)
    value = number_text(point.figure.value) + (f" (95 % interval: {interval})" if interval else "")
    which = "The attack that was made" if attacks == 1 else f"Of {attacks} attacks, the one that brought back most"
    return (
        f"{which} trained a copy of the new model on {RELEARNING[attack]}. After {_steps(point.step)} the perplexity of"
        f" the text to forget was {value}, measured on {records_text(point.figure.records)} that the attack was not"
        " shown. Higher is better: 1 would mean that the copy knows the text by heart again."
    )


def _beside(after: Measurements, report: Report, attack: RelearningAttackName, step: int) -> str:
    """Compares the figure with the same text without further training, before the job, and in the retrained model."""
    curve = f"{RELEARNED}{attack}"
    sentences = [f"Without further training it is {_at(after, curve, 0)} in the new model"]
    before = report.figures.before
    if before is not None and (known := _at(before, f"{RELEARNED}forget", 0)):
        sentences[0] += f" and was {known} in the model before the job"
    sentences[0] += "."
    retrained = report.figures.retrained
    if retrained is not None and (other := _at(retrained, curve, step)):
        sentences.append(
            f"The retrained model, which had never seen the text, came to {other} by the same attack in as many steps."
        )
    elif attack == "forget" and (unseen := after.curves.get("relearned_unseen")):
        first, last = (number_text(point.figure.value) for point in (unseen[0], unseen[-1]))
        sentences.append(
            f"Text that the model had never seen went from {first} to {last} in the same copy: such training makes all"
            " text of this kind more familiar."
        )
    ratio = after.across.get(RELEARNED_WORST[1])
    if ratio is not None:
        sentences.append(
            f"The lowest ratio of the new model's perplexity to the retrained model's, over all attacks, was"
            f" {number_text(ratio.value)}: at 1 or above, the text comes back no sooner than it would in a model that"
            " had never seen it."
        )
    return " ".join(sentences)


def _at(measured: Measurements, curve: str, step: int) -> str | None:
    values = [number_text(point.figure.value) for point in measured.curves.get(curve, []) if point.step == step]
    return values[0] if values else None


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count:,} steps"
