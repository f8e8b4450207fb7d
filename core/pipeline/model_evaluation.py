"""Measuring all models of one job on the same records with the same settings, and the verdict."""

import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from core.evaluation.cache import CacheUnusable, MeasurementCache
from core.evaluation.eval_context import EarlierRecords, EvalContext, LoadedModel
from core.evaluation.measurement import Measurement
from core.evaluation.measurements.change import COMPARED_SETS, Change
from core.evaluation.policy.verdict import judge, signs_of_memorization
from core.evaluation.record_figures import keep_figures
from core.evaluation.record_scores import record_scores
from core.evaluation.runner import measure_model
from core.lm import adapter
from core.lm.chat_template import template_in
from core.lm.fingerprint import Fingerprint
from core.lm.memory import release_free_memory
from core.lm.model import model_digest, read_context_length
from core.pipeline import baseline_figures
from core.pipeline.data_split import DataSplit
from core.pipeline.phases import Emit, Phases
from core.schema.evaluation import Measurements, Moment
from core.schema.events import Judged, Measured, Warned
from core.schema.job_spec import JobSpec, MeasureSpec, SealedFolder
from core.schema.policies import Policy
from core.schema.previously_forgotten import KeptFigures
from core.schema.record import Record
from core.schema.training import Training
from core.unlearning.eval_tokenization import eval_settings


def job_eval_settings(spec: JobSpec) -> Training:
    """The settings that a job's models are measured with; only a job that just measures chooses them itself."""
    if isinstance(spec, MeasureSpec):
        return spec.training
    return eval_settings(spec.training, context=read_context_length(spec.directory))


class ModelEvaluation:
    """Measures the retrained model (if there is one), then the model before unlearning, then the model after."""

    def __init__(
        self,
        spec: JobSpec,
        measurements: Sequence[Measurement],
        data: DataSplit,
        settings: Training,
        *,
        emit: Emit,
        phases: Phases,
        load: Callable[[Path], LoadedModel],
        job: str | None = None,
        forget: Sequence[Record] = (),
        earlier: Sequence[EarlierRecords] = (),
    ) -> None:
        """`job` is the one of several in a run that is measured. Of the whole `forget` set of a job that unlearns,
        figures of single records are kept for later jobs. `earlier` are requests that the model should have forgotten
        before the job."""
        self._job, self._forget, self._earlier = job, forget, earlier
        self._spec, self._measurements, self._data = spec, measurements, data
        self._emit, self._phases, self._load = emit, phases, load
        self._settings = settings
        self._retrained: EvalContext | None = None
        self._retrained_digest: str | None = None
        self._original: EvalContext | None = None
        self._figures: dict[Moment, Measurements] = {}

    def measure_retrained(self) -> None:
        """Measures the retrained model, if there is one, and keeps its scores of each record for comparisons."""
        directory = self._spec.retrained
        if directory is None:
            return
        with self._phases.during("measuring_before"):
            self._retrained_digest = model_digest(directory)
            context = self._context("retrained", directory, self._retrained_digest)
            self._retrained = context
            figures = self._measure(context, self._retrained_digest)
            context.unload_model()
            gc.collect()
        self._record_figures("retrained", figures)

    def measure_original(self, directory: Path) -> Measurements:
        """Measures the model that the job's model was made from."""
        with self._phases.during("measuring_before"):
            digest = model_digest(directory)
            context = self._context("before", directory, digest)
            figures = self._measure(context, digest)
            self._keep_scores(context)
            gc.collect()
        self._record_figures("before", figures)
        return figures

    def measure_before(
        self, loaded: LoadedModel, digest: str, snapshots: SealedFolder | None, fingerprint: Fingerprint
    ) -> Measurements:
        """Measures the model before unlearning, or reads the figures that an earlier attempt of the job kept.

        Figures are kept beside the `snapshots`, under `fingerprint`. Afterwards no reference to the loaded model is
        held, so that the caller may change it.
        """
        figures = None if snapshots is None else baseline_figures.load(snapshots, fingerprint, job=self._job)
        context = self._context("before", self._spec.directory, digest, loaded)
        if figures is None:
            with self._phases.during("measuring_before"):
                figures = self._measure(context, digest)
                self._keep_scores(context)
            if snapshots is not None:
                with suppress(OSError):  # a full disk: a later attempt measures again
                    baseline_figures.save(snapshots, fingerprint, figures, job=self._job)
        else:
            with self._phases.during("loading"):
                self._keep_scores(context)
        if figures.warnings:  # in one event: a job keeps one warning of each code
            self._emit(Warned(job=self._job, code="small_sample", message="; ".join(figures.warnings)))
        self._record_figures("before", figures)
        return figures

    def measure_directory(
        self, moment: Moment, directory: Path, *, original: Measurements | None = None
    ) -> Measurements:
        """Measures the model in a directory: the given one, or the saved one."""
        with self._phases.during("measuring_before" if moment == "before" else "measuring_after"):
            digest = model_digest(directory)
            context = self._context(moment, directory, digest)
            kept = keep_figures(context, self._forget) if moment == "after" and self._forget else None
            figures = self._measure(context, digest, original)
        self._record_figures(moment, figures, kept)
        return figures

    def check_retrained(self, before: Measurements | None) -> None:
        """Warns where the supplied retrained model has seen the forget set, before comparisons with it."""
        retrained = self._figures.get("retrained")
        if retrained is not None and (signs := signs_of_memorization(retrained, before)):
            message = (
                f"the retrained model knows the text to forget (by its {', '.join(signs)}): it was not retrained"
                " without it, and bounds against a retrained model are not judged"
            )
            self._emit(Warned(job=self._job, code="reference_knows_the_text", message=message))

    def judge(self, policy: Policy | None, *, assumption: str | None = None) -> None:
        """Judges the measured model by the policy, where there is one. `assumption` is what the verdict assumes."""
        if policy is None:
            return
        figures = self._figures
        judgement = judge(
            policy, before=figures.get("before"), after=figures["after"], retrained=figures.get("retrained")
        )
        self._emit(Judged(job=self._job, judgement=judgement.model_copy(update={"assumption": assumption})))
        if judgement.warnings:
            self._emit(Warned(job=self._job, code="not_all_judged", message="; ".join(judgement.warnings)))

    def warn(self, code: str, message: str) -> None:
        """Warns of the job that is measured."""
        self._emit(Warned(job=self._job, code=code, message=message))

    def judge_unchanged(self, policy: Policy | None, *, assumption: str | None = None) -> None:
        """Judges the model that the job started from, which it leaves as it is."""
        self._figures["after"] = self._figures["before"]
        self.judge(policy, assumption=assumption)

    def _record_figures(self, moment: Moment, figures: Measurements, kept: KeptFigures | None = None) -> None:
        self._figures[moment] = figures
        self._emit(Measured(job=self._job, moment=moment, measurements=figures, kept=kept))

    def _keep_scores(self, context: EvalContext) -> None:
        """Keeps the original model's scores of each record to retain, for the change of each, and unloads the model."""
        if any(measurement.name == Change.name for measurement in self._measurements):
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
            self._data.measuring,
            training=self._settings,
            moment=moment,
            loaded=loaded,
            retrained=self._retrained,
            original=self._original,
            original_directory=None if moment == "before" else spec.original_directory,
            earlier=self._earlier,
            cache=self._cache_of(directory, digest),
            check_stop=self._phases.check_cancelled,
            benchmark_tasks=spec.benchmark_tasks,
            benchmark_code=spec.benchmark_code,
        )

    def _cache_of(self, directory: Path, digest: str) -> MeasurementCache | None:
        """The cache of the model's measurements; None for an adapter, whose files alone do not identify the model."""
        spec = self._spec
        if spec.cache is None or spec.adapter_base(directory) is not None:
            return None
        template = None if self._settings.chat == "raw" else template_in(directory)
        if template is not None and template.day is not None:
            digest = f"{digest} {template.day}"  # the template writes the date: tomorrow the text is another
        try:
            return MeasurementCache(
                spec.cache, model_digest=digest, dtype=spec.dtype, keeps_forget_set=spec.cache_forgotten
            )
        except CacheUnusable as error:
            self._emit(Warned(job=self._job, code="not_kept", message=str(error)))
            return None

    def _measure(self, context: EvalContext, digest: str, original: Measurements | None = None) -> Measurements:
        def before_each(measurement: Measurement) -> None:
            self._phases.check_cancelled()
            release_free_memory()
            if measurement.is_attack and context.moment == "after":
                self._phases.switch_to("attacking")

        return measure_model(
            context,
            self._measurements,
            model_digest=digest,
            retrained_digest=self._retrained_digest,
            original=original,
            before_each=before_each,
        )
