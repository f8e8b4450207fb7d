"""PrivLeak: how far each attack's AUC is from that of a model which never saw the forget set."""

from typing import TYPE_CHECKING, ClassVar

from core.evaluation.measurement import Measurement, ProducedFigures, Source
from core.schema.evaluation import Figure, MeasurementResult, Moment, SetName
from core.schema.figure_names import LIKELIHOOD_ATTACKS

if TYPE_CHECKING:
    from core.evaluation.eval_context import EvalContext


class PrivLeak(Measurement):
    name: ClassVar[str] = "privleak"
    summary: ClassVar[str] = (
        "How far each membership attack's AUC is from that of a model which never saw the forget set:"
        " `privleak_<attack>` is 100·((1 - AUC) - (1 - AUC_ref)) / (1 - AUC_ref). 0: no difference. Below 0: the"
        " forget set is still known. Above 0: it stands out as less known than text that was never seen. AUC_ref is"
        " the retrained model's AUC if the job names a retrained model, otherwise 0.5; `notes` says which, beside"
        " each figure."
    )
    produces: ClassVar[ProducedFigures] = ProducedFigures(
        across=tuple(f"privleak_{attack}" for attack in LIKELIHOOD_ATTACKS)
    )
    source: ClassVar[Source | None] = Source(
        title="Shi et al. 2024, MUSE: Machine Unlearning Six-Way Evaluation for Language Models",
        url="https://arxiv.org/abs/2407.06460",
    )
    needs: ClassVar[frozenset[SetName]] = frozenset({"forget", "unseen"})
    moments: ClassVar[frozenset[Moment]] = frozenset({"before", "after"})
    order: ClassVar[int] = 10

    def measure(self, context: "EvalContext") -> MeasurementResult:
        from core.evaluation.attacks import privleak
        from core.evaluation.record_scores import attack_scores, record_scores, retrained_record_scores

        names: tuple[SetName, ...] = ("forget", "unseen")
        members, non_members = (attack_scores(record_scores(context, name)) for name in names)
        columns = retrained_record_scores(context, names)
        retrained_scores = None if columns is None else [attack_scores(scores) for scores in columns]
        resamples = context.resamples("membership")
        across: dict[str, Figure] = {}
        undefined: list[str] = []
        for name in members:
            retrained = None if retrained_scores is None else (retrained_scores[0][name], retrained_scores[1][name])
            figure = privleak.privleak((members[name], non_members[name]), retrained, resamples)
            if figure is None:
                undefined.append(name)
            else:
                across[f"privleak_{name}"] = figure
        warnings = []
        if undefined:
            warnings.append(f"privleak: undefined where the retrained model's own AUC is 1: {', '.join(undefined)}")
        if any(figure.low is None for figure in across.values()):
            warnings.append("privleak: no interval where the retrained model's AUC reaches 1 in many resamples")
        note = privleak.CHANCE_NOTE if retrained_scores is None else privleak.RETRAINED_NOTE
        return MeasurementResult(across=across, notes=dict.fromkeys(across, note), warnings=warnings)
