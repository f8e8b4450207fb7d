"""One job, from its spec to its last event."""

import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.evaluation.measurement import Measurement
from core.evaluation.measurements import UnknownMeasurement, resolve_measurements
from core.evaluation.policy import preview
from core.lm import process_group
from core.lm.companion_files import companion_files
from core.lm.errors import CoreError
from core.lm.fingerprint import Fingerprint
from core.lm.flops import METER, ModelFlops
from core.lm.model import device, load, load_tokenizer, model_digest
from core.lm.process_group import SINGLE_RANK, Ranks
from core.lm.saving import export, export_adapter, refuse_unexportable
from core.lm.sharding import gather_model
from core.lm.snapshots import Snapshots
from core.pipeline import chat_validation, rehearsal_samples, scorable_records, shared_run
from core.pipeline.cost import meter_other_ranks
from core.pipeline.data_split import DataSplit, split_sets
from core.pipeline.earlier_requests import describe_unread, match_requests, separate_earlier
from core.pipeline.forgotten_text import ForgottenText
from core.pipeline.job_fingerprint import job_fingerprint
from core.pipeline.job_progress import JobProgress
from core.pipeline.made_sets import MissingSets, SetMaker, describe_made
from core.pipeline.measuring_plan import plan_measuring
from core.pipeline.model_card import model_card
from core.pipeline.model_evaluation import ModelEvaluation
from core.pipeline.phases import Emit, Phases
from core.pipeline.rank_processes import RankProcesses
from core.pipeline.record_source import fetch_records
from core.pipeline.run_environment import environment
from core.pipeline.trainable import check_trainable
from core.pipeline.validation_messages import describe_errors
from core.schema.evaluation import Measurements
from core.schema.events import Cancelled, ChildEvent, CostReported, Done, Paused, ProgressMade, Saved, SetsMade, Warned
from core.schema.job_spec import JobSpec, MeasureSpec, PreviewSpec, UnlearnSpec
from core.schema.jobs import SetUsed
from core.schema.training import Training
from core.unlearning.method import Method
from core.unlearning.objectives import UnknownMethod, resolve
from core.unlearning.step_plan import TrainingSets
from core.unlearning.trainer import JobCancelled, JobPaused, NothingToForget, TrainingResult, train

_NO_FINGERPRINT = Fingerprint({}, b"")
"""For jobs without snapshots, and for ranks other than the first, which alone compares fingerprints."""


class Run:
    """Runs one job through its phases."""

    def __init__(
        self,
        spec: JobSpec,
        emit: Emit,
        cancelled: Callable[[], bool],
        paused: Callable[[], bool],
        *,
        began: float,
        rank_processes: RankProcesses | None = None,
    ) -> None:
        """`began` is the monotonic time at which the phase `loading` began, imports included. `rank_processes` are the
        other processes that share the training."""
        self._rank_processes = rank_processes
        self._spec, self._emit, self._cancelled, self._paused = spec, emit, cancelled, paused
        progress = JobProgress(spec.kind, spec.expected, began=began, compared=len(spec.compared_models))
        self._phases = Phases(emit, cancelled, began=began, progress=progress)
        if spec.threads is not None:
            torch.set_num_threads(spec.threads)

    def __call__(self) -> None:
        """Runs the job. Raises CoreError. Cancelling takes effect between phases and between updates.

        Pausing takes effect here between updates only: at any other time the process ends at once (`Channel`).
        """
        self._emit(environment(self._spec.processes))
        try:
            match self._spec:
                case UnlearnSpec() as spec:
                    self._unlearn(spec)
                case PreviewSpec() as spec:
                    self._preview(spec)
                case MeasureSpec() as spec:
                    self._measure_only(spec)
        except JobCancelled:
            self._emit(Cancelled())
        except JobPaused as paused:
            self._emit(Paused(step=paused.step))

    def train_as_rank(self, spec: UnlearnSpec, rank: int, meeting: Path) -> None:
        """Does the part of a rank other than the first: it only trains. Raises CoreError."""
        model, tokenizer = self._load(spec.directory, rank)
        ranks = Ranks.join(rank, spec.ranks, meeting)
        with suppress(JobCancelled, JobPaused, NothingToForget):
            self._train(spec, model, tokenizer, ranks.broadcast(None), ranks, _NO_FINGERPRINT)

    def _report(self, event: ChildEvent) -> None:
        """Emits an event of the trainer, and the progress of the whole job."""
        self._emit(event)
        if isinstance(event, ProgressMade):
            self._phases.progress.set_step(event.step, event.steps)
            self._phases.heartbeat_if_due()

    def _train(
        self,
        spec: UnlearnSpec,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sets: TrainingSets,
        ranks: Ranks,
        fingerprint: Fingerprint,
        *,
        leave_unknown: bool = False,
    ) -> TrainingResult:
        """Trains, gathers the model in the first rank, and ends the process group.

        `fingerprint` is what the first rank's snapshots must belong to. Raises what `train` raises.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(max(1, threads // ranks.count))
        report = self._report if ranks.rank == 0 else lambda _: None
        snapshots = None
        if spec.snapshots is not None:
            folder, key = spec.snapshots.folder, spec.snapshots.key_bytes
            snapshots = Snapshots(folder, spec.fence, fingerprint, key=key, report=report, ranks=ranks)
        began = METER.reading
        result = train(
            model,
            tokenizer,
            spec.method.name,
            spec.method.parameters,
            spec.training,
            sets,
            report=report,
            should_stop=self._cancelled,
            should_pause=self._paused,
            snapshots=snapshots,
            ranks=ranks,
            leave_unknown=leave_unknown,
        )
        meter_other_ranks(ranks, began)
        gather_model(model, ranks)
        if self._rank_processes is not None:
            self._rank_processes.dismiss()
        ranks.leave()
        torch.set_num_threads(threads)
        return result

    def _measure_only(self, spec: MeasureSpec) -> None:
        with self._phases.during("loading"):
            measurements = self._measurements()
            sets = fetch_records(spec.records)
            settings = chat_validation.choose_eval_settings(spec, sets, self._emit)
            data = split_sets(sets)
            self._drop_unscorable(data, settings)
        evaluation = self._evaluation(measurements, data, settings)
        evaluation.measure_retrained()
        original = None if spec.original is None else evaluation.measure_original(spec.original)
        evaluation.check_retrained(original)
        evaluation.measure_directory("after", spec.directory, original=original)
        evaluation.judge(spec.policy)
        self._emit_cost(None)
        self._emit(Done(outcome=None))

    def _preview(self, spec: PreviewSpec) -> None:
        """Measures what the model remembers of the forget set, and changes nothing."""
        with self._phases.during("loading"):
            measurements = self._measurements()
            sets = fetch_records(spec.records)
            settings = chat_validation.choose_eval_settings(spec, sets, self._emit)
            data = split_sets(sets)
            self._require_forget_set(data)
            self._drop_unscorable(data, settings)
        evaluation = self._evaluation(measurements, data, settings)
        evaluation.measure_retrained()
        figures = evaluation.measure_directory("before", spec.directory)
        evaluation.check_retrained(figures)
        concluded = preview.conclude(figures)
        self._emit(Warned(code=concluded.outcome, message=concluded.words))
        self._emit_cost(None)
        self._emit(Done(outcome=concluded.outcome))

    def _evaluation(
        self, measurements: list[Measurement], data: DataSplit, settings: Training, **request: Any
    ) -> ModelEvaluation:
        return ModelEvaluation(
            self._spec, measurements, data, settings, emit=self._emit, phases=self._phases, load=self._load, **request
        )

    def _require_forget_set(self, data: DataSplit) -> None:
        """Raises CoreError `empty_forget_set`; warns of the records that the split left out."""
        if not data.training.forget:
            raise CoreError("empty_forget_set", "the forget set holds no record")
        if data.warnings:
            self._emit(Warned(code="overlapping_sets", message="; ".join(data.warnings)))

    def _drop_unscorable(self, data: DataSplit, settings: Training, job: str | None = None) -> None:
        """Drops records that cannot be measured, the same for every measured model, with a warning."""
        tokenizer = load_tokenizer(self._spec.model_directory)
        if messages := scorable_records.drop_unscorable(data, tokenizer, settings.chat):
            self._emit(Warned(job=job, code="nothing_to_score", message="; ".join(messages)))

    def _unlearn(self, spec: UnlearnSpec) -> None:
        with self._phases.during("loading"):
            if spec.deliver != "full" and spec.training.lora is None:
                raise CoreError("no_adapter", f"deliver '{spec.deliver}' needs an adapter (training.lora)")
            try:
                method = resolve(spec.method.name, spec.method.parameters)
            except ValidationError as error:
                raise CoreError("bad_method", describe_errors(error)) from None
            except UnknownMethod as error:
                raise CoreError("bad_method", str(error)) from None
            process_group.require_ranks(spec.ranks)
            measurements = self._measurements()
            sets, earlier = separate_earlier(fetch_records(spec.records))
            settings = chat_validation.choose_eval_settings(spec, sets, self._emit)
            if spec.companions and settings.chat == "raw":
                raise shared_run.measured_raw()
            data = split_sets(sets, earlier)
            self._require_forget_set(data)
            if unread := describe_unread(spec.earlier, earlier):
                self._emit(Warned(code="earlier_text_unread", message="; ".join(unread)))
            shared_run.keep_own(spec, sets, data)
            trained = [*data.training.forget, *data.training.unseen]
            trained += [record for records in data.training.retain for record in records.records]
            scorable_records.refuse_unscorable(
                sets, set(method.needs()), trained, load_tokenizer(spec.directory), spec.training.chat
            )
            self._drop_unscorable(data, settings)
            measurements, shortened = plan_measuring(spec, method, measurements, sets)
            if shortened:
                self._emit(Warned(code="measuring_shortened", message=shortened))
            digest = model_digest(spec.directory)
            made = self._make_missing_sets(spec, data, method, digest)
            requests = shared_run.list_requests(spec, sets, data)
            for request in requests[1:]:
                self._drop_unscorable(request.data, settings, request.job)
        evaluations = [
            self._evaluation(
                measurements,
                request.data,
                settings,
                job=request.job,
                forget=request.forget,
                earlier=match_requests(spec.earlier, earlier),
            )
            for request in requests
        ]
        evaluations[0].measure_retrained()
        with self._phases.during("loading"):
            model, tokenizer = self._load(spec.directory)
            check_trainable(spec, model, method, self._emit)
            if spec.deliver != "adapter":
                refuse_unexportable(model, spec.directory)
            fingerprint = (
                _NO_FINGERPRINT if spec.snapshots is None else job_fingerprint(spec, [*sets, *earlier], digest)
            )
        figures = [
            evaluation.measure_before((model, tokenizer), digest, spec.snapshots, fingerprint)
            for evaluation in evaluations
        ]
        evaluations[0].check_retrained(figures[0])
        assumption = describe_made(made) if made else None
        known = [preview.conclude(measured) for measured in figures]
        if spec.training.tune == "auto" and all(concluded.outcome == "nothing_to_forget" for concluded in known):
            reasons = [f"the figures show that the model does not know it: {concluded.words}" for concluded in known]
            self._leave_unchanged(spec, evaluations, reasons, assumption)
            return
        try:
            with self._phases.during("unlearning"):
                others = self._rank_processes
                ranks = SINGLE_RANK if others is None else Ranks.join(0, spec.ranks, others.meeting)
                training_sets = ranks.broadcast(data.training)
                leave_unknown = not any(concluded.known for concluded in known)
                result = self._train(
                    spec, model, tokenizer, training_sets, ranks, fingerprint, leave_unknown=leave_unknown
                )
        except NothingToForget:
            reasons = [
                "each record is as unlikely to the model as unseen text, and no figure shows that the model knows it,"
                f" which is no proof that the model holds nothing of it: {concluded.words}"
                for concluded in known
            ]
            self._leave_unchanged(spec, evaluations, reasons, assumption)
            return
        with self._phases.during("saving"):
            self._save(spec, model, result, figures[0], made)
            del model
            gc.collect()
            self._emit(Saved(directory=spec.output, step=result.steps))
        for evaluation, measured in zip(evaluations, figures, strict=True):
            evaluation.measure_directory("after", spec.output, original=measured)
            # no verdict by figures in a format that the model is not prompted in: a submitter could cause that with one
            # record that the chat template refuses
            if settings.chat != "raw":
                evaluation.judge(spec.policy, assumption=assumption)
        self._emit_cost(result)
        self._emit(Done(outcome="unlearned"))

    def _leave_unchanged(
        self,
        spec: UnlearnSpec,
        evaluations: Sequence[ModelEvaluation],
        reasons: Sequence[str],
        assumption: str | None,
    ) -> None:
        """Ends a run whose forget sets the model does not know: no checkpoint, and verdicts on the model as it is."""
        if self._rank_processes is not None:
            self._rank_processes.dismiss()
        for evaluation, reason in zip(evaluations, reasons, strict=True):
            evaluation.warn("nothing_to_forget", f"nothing was changed: {reason}")
            evaluation.judge_unchanged(spec.policy, assumption=assumption)
        self._emit_cost(None)
        self._emit(Done(outcome="nothing_to_forget"))

    def _make_missing_sets(self, spec: UnlearnSpec, data: DataSplit, method: Method, digest: str) -> list[SetUsed]:
        """Opens the cache of the model's own texts, and makes the sets that neither the request nor the model has.

        Returns what was made, and tells it.
        """
        missing = MissingSets.of(data, method, spec.policy)
        if spec.samples is None and not missing:
            return []
        forgotten = ForgottenText(data, load_tokenizer(spec.directory), seed=spec.training.seed)
        cache = rehearsal_samples.open_cache(spec, forgotten, digest, self._emit)
        data.training.rehearsal_cache = cache
        if not missing:
            return []
        maker = SetMaker(data, spec.training, forgotten, cache=cache, should_stop=self._cancelled)
        made = maker.make(missing, *self._load(spec.directory))
        self._phases.check_cancelled()
        gc.collect()
        if made:
            self._emit(SetsMade(sets=made))
            self._emit(Warned(code="data_made", message=describe_made(made)))
        return made

    def _save(
        self,
        spec: UnlearnSpec,
        model: PreTrainedModel,
        result: TrainingResult,
        before: Measurements,
        made: Sequence[SetUsed],
    ) -> None:
        if spec.deliver == "adapter":
            base = spec.start or spec.model
            export_adapter(
                model, spec.directory, spec.output, model_card(spec, result, before, made_sets=made), base=base
            )
            return
        if left_out := companion_files(spec.directory).left_out:
            message = f"the checkpoint leaves out files that hold weights from before: {', '.join(left_out)}"
            self._emit(Warned(code="files_left_out", message=message))
        export(model, spec.directory, spec.output, model_card(spec, result, before, left_out, made), dtype=spec.dtype)

    def _measurements(self) -> list[Measurement]:
        """The measurements of the spec. Raises CoreError `bad_measurement`."""
        try:
            return resolve_measurements(self._spec.measure)
        except ValidationError as error:
            raise CoreError("bad_measurement", describe_errors(error)) from None
        except UnknownMeasurement as error:
            raise CoreError("bad_measurement", str(error)) from None

    def _load(self, directory: Path, rank: int = 0) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Loads a model in the job's precision, the same for every model, so that figures can be compared."""
        weights = self._spec.training.master_weights
        model, tokenizer = load(directory, self._spec.dtype, device=device(rank), weights=weights)
        if directory == self._spec.model_directory:
            self._phases.cost.model = ModelFlops.of(model)
        return model, tokenizer

    def _emit_cost(self, result: TrainingResult | None) -> None:
        self._emit(
            CostReported(
                **self._phases.cost.fields(self._spec.training_tokens),
                tokens=result.tokens if result else 0,
                changed_share=result.changed_share if result else None,
            )
        )
