"""The models of one job, measured on the same records in the same way, and what that comes to."""

import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from core.evaluation.cache import CacheUnusable, MeasurementCache
from core.evaluation.eval_context import EvalContext, LoadedModel
from core.evaluation.measurement import Measurement
from core.evaluation.measurements.change import COMPARED_SETS, Change
from core.evaluation.policy.verdict import judge, signs_of_memorization
from core.evaluation.record_scores import record_scores
from core.evaluation.runner import measure
from core.lm import adapter
from core.lm.chat_template import template_in
from core.lm.fingerprint import Fingerprint
from core.lm.memory import release_free_memory
from core.lm.model import model_digest, read_context_length
from core.pipeline import baseline_figures
from core.pipeline.data_split import DataSplit
from core.pipeline.phases import Phases, Say
from core.schema.evaluation import Measurements, Moment
from core.schema.events import Judged, Measured, Warned
from core.schema.job_spec import JobSpec, MeasureSpec
from core.schema.policies import Policy
from core.schema.training import Training
from core.unlearning.eval_tokenization import eval_settings


def job_eval_settings(spec: JobSpec) -> Training:
    """How records are read to be measured: a job that only measures says it itself, no other does."""
    if isinstance(spec, MeasureSpec):
        return spec.training
    return eval_settings(spec.training, context=read_context_length(spec.directory))


class ModelEvaluation:
    """Measures the retrained model first, where there is one, then the model as it came, then what became of it."""

    def __init__(
        self,
        spec: JobSpec,
        measurements: Sequence[Measurement],
        parts: DataSplit,
        reading: Training,
        *,
        say: Say,
        phases: Phases,
        load: Callable[[Path], LoadedModel],
    ) -> None:
        self._spec, self._measurements, self._parts = spec, measurements, parts
        self._say, self._phases, self._load = say, phases, load
        self._reading = reading
        self._retrained: EvalContext | None = None
        self._retrained_digest: str | None = None
        self._original: EvalContext | None = None
        self._figures_of: dict[Moment, Measurements] = {}

    def retrained(self) -> None:
        """Measures the retrained model, where there is one; what it says of each record is kept for comparisons."""
        directory = self._spec.retrained
        if directory is None:
            return
        with self._phases.during("measuring_before"):
            self._retrained_digest = model_digest(directory)
            context = self._context("retrained", directory, self._retrained_digest)
            self._retrained = context
            figures = self._figures(context, self._retrained_digest)
            context.unload_model()
            gc.collect()
        self._say_measured("retrained", figures)

    def original(self, directory: Path) -> Measurements:
        """The figures of the model that the one to measure was made from."""
        with self._phases.during("measuring_before"):
            digest = model_digest(directory)
            context = self._context("before", directory, digest)
            figures = self._figures(context, digest)
            self._keep_original(context)
            gc.collect()
        self._say_measured("before", figures)
        return figures

    def before(
        self, loaded: LoadedModel, digest: str, snapshots: Path | None, fingerprint: Fingerprint
    ) -> Measurements:
        """The figures of the model to unlearn, as it is: measured unless an earlier attempt has.

        The loaded model is let go of: it may be changed then. `fingerprint` tells whose the figures are that are kept
        beside the `snapshots`.
        """
        figures = None if snapshots is None else baseline_figures.load(snapshots, fingerprint)
        context = self._context("before", self._spec.directory, digest, loaded)
        if figures is None:
            with self._phases.during("measuring_before"):
                figures = self._figures(context, digest)
                self._keep_original(context)
            if snapshots is not None:
                with suppress(OSError):  # a full disk: the next attempt, should there be one, measures again
                    baseline_figures.save(snapshots, fingerprint, figures)
        else:
            with self._phases.during("loading"):
                self._keep_original(context)
        if figures.warnings:  # as one: a job keeps one warning of a code
            self._say(Warned(code="small_sample", message="; ".join(figures.warnings)))
        self._say_measured("before", figures)
        return figures

    def lying(self, moment: Moment, directory: Path, *, original: Measurements | None = None) -> Measurements:
        """Measures a model as it lies on disk: the one that was given, or what was saved."""
        with self._phases.during("measuring_before" if moment == "before" else "measuring_after"):
            digest = model_digest(directory)
            figures = self._figures(self._context(moment, directory, digest), digest, original)
        self._say_measured(moment, figures)
        return figures

    def doubt_retrained(self, before: Measurements | None) -> None:
        """Warns where the supplied retrained model has seen the forget set: before anything is held against it."""
        retrained = self._figures_of.get("retrained")
        if retrained is not None and (shown := signs_of_memorization(retrained, before)):
            message = (
                f"the retrained model knows the text to forget (by its {', '.join(shown)}): it was not retrained"
                " without it, and what is held against a retrained model is not judged"
            )
            self._say(Warned(code="reference_knows_the_text", message=message))

    def judge(self, policy: Policy | None) -> None:
        """Says how the measured model kept the policy, where there is one."""
        if policy is None:
            return
        known = self._figures_of
        judgement = judge(policy, before=known.get("before"), after=known["after"], retrained=known.get("retrained"))
        self._say(Judged(judgement=judgement))
        if judgement.warnings:
            self._say(Warned(code="not_all_judged", message="; ".join(judgement.warnings)))

    def _say_measured(self, moment: Moment, figures: Measurements) -> None:
        self._figures_of[moment] = figures
        self._say(Measured(moment=moment, measurements=figures))

    def _keep_original(self, context: EvalContext) -> None:
        """Keeps what the model as it came says of each record that must survive, for the change of each, and lets the
        model go, which others may change."""
        if any(one.name == Change.name for one in self._measurements):
            for name in COMPARED_SETS:
                if name in context.sets:
                    record_scores(context, name)
        context.unload_model()
        self._original = context

    def _context(self, moment: Moment, directory: Path, digest: str, loaded: LoadedModel | None = None) -> EvalContext:
        spec = self._spec

        def load_again() -> LoadedModel:
            base = spec.adapter_base(directory)
            model, tokenizer = self._load(base or directory)
            if base is not None:
                adapter.read(model, directory)
            return model, tokenizer

        return EvalContext(
            load_again,
            self._parts.measuring,
            training=self._reading,
            moment=moment,
            loaded=loaded,
            retrained=self._retrained,
            original=self._original,
            cache=self._cache_of(directory, digest),
            check_stop=self._phases.heard,
            benchmark_tasks=spec.benchmark_tasks,
            benchmark_code=spec.benchmark_code,
        )

    def _cache_of(self, directory: Path, digest: str) -> MeasurementCache | None:
        """Where what was measured of the model is kept. An adapter alone says too little of what was measured."""
        spec = self._spec
        if spec.cache is None or spec.adapter_base(directory) is not None:
            return None
        template = None if self._reading.chat == "raw" else template_in(directory)
        if template is not None and template.day is not None:
            digest = f"{digest} {template.day}"  # what is measured is another text tomorrow
        try:
            return MeasurementCache(
                spec.cache, model_digest=digest, dtype=spec.dtype, keeps_forget_set=spec.cache_forgotten
            )
        except CacheUnusable as error:
            self._say(Warned(code="not_kept", message=str(error)))
            return None

    def _figures(self, context: EvalContext, digest: str, original: Measurements | None = None) -> Measurements:
        def before_each(measurement: Measurement) -> None:
            self._phases.heard()
            release_free_memory()
            if measurement.is_attack and context.moment == "after":
                self._phases.turn_to("attacking")

        return measure(
            context,
            self._measurements,
            model_digest=digest,
            retrained_digest=self._retrained_digest,
            original=original,
            before_each=before_each,
        )
