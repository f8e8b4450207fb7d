"""One job from its spec to its last event."""

import gc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from pydantic import ValidationError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.evaluation.measurement import Measurement
from core.evaluation.measurements import UnknownMeasurement, resolve_measurements
from core.evaluation.policy import preview
from core.lm import adapter_targets, process_group
from core.lm.companion_files import companion_files
from core.lm.errors import CoreError
from core.lm.fingerprint import Fingerprint
from core.lm.flops import METER, ModelFlops
from core.lm.model import device, load, load_tokenizer, model_digest
from core.lm.process_group import SINGLE_RANK, Ranks
from core.lm.residual_stream import layer_count
from core.lm.saving import export, export_adapter, refuse_unexportable
from core.lm.sharding import gather_model
from core.lm.snapshots import Snapshots
from core.pipeline import chat_validation, scorable_records
from core.pipeline.cost import meter_other_ranks
from core.pipeline.data_split import DataSplit, split_sets
from core.pipeline.job_fingerprint import job_fingerprint
from core.pipeline.job_progress import JobProgress
from core.pipeline.model_card import model_card
from core.pipeline.model_evaluation import ModelEvaluation
from core.pipeline.phases import Phases, Say
from core.pipeline.rank_processes import RankProcesses
from core.pipeline.record_source import fetch_records
from core.pipeline.validation_messages import describe_errors
from core.schema.evaluation import Measurements
from core.schema.events import Cancelled, ChildEvent, CostReported, Done, Paused, ProgressMade, Saved, Warned
from core.schema.job_spec import JobSpec, MeasureSpec, PreviewSpec, UnlearnSpec
from core.schema.training import Training
from core.unlearning.method import Method
from core.unlearning.objectives import UnknownMethod, resolve
from core.unlearning.parameter_selection import check_selection
from core.unlearning.step_plan import TrainingSets
from core.unlearning.trainer import JobCancelled, JobPaused, TrainingResult, train

_NOBODYS = Fingerprint({}, b"")
"""For who keeps no snapshots, or leaves it to the first rank to tell whose they are."""


class Run:
    """The way of one job, through its phases."""

    def __init__(
        self,
        spec: JobSpec,
        say: Say,
        cancelled: Callable[[], bool],
        paused: Callable[[], bool],
        *,
        began: float,
        others: RankProcesses | None = None,
    ) -> None:
        """`began` is the monotonic time at which `loading` did: importing what computes is part of it. `others` are
        the processes that this one shares the training with."""
        self._others = others
        self._spec, self._say, self._cancelled, self._paused = spec, say, cancelled, paused
        progress = JobProgress(spec.kind, spec.expected, began=began, compared=len(spec.compared_models))
        self._phases = Phases(say, cancelled, began=began, progress=progress)
        if spec.threads is not None:
            torch.set_num_threads(spec.threads)

    def __call__(self) -> None:
        """Does the job. Raises CoreError; a wish to stop is heard between phases and between steps.

        A wish to pause is heard here between steps only: at any other time, whoever is told to pause simply ends.
        """
        try:
            match self._spec:
                case UnlearnSpec() as spec:
                    self._unlearn(spec)
                case PreviewSpec() as spec:
                    self._preview(spec)
                case MeasureSpec() as spec:
                    self._measure_only(spec)
        except JobCancelled:
            self._say(Cancelled())
        except JobPaused as halted:
            self._say(Paused(step=halted.step))

    def assist(self, spec: UnlearnSpec, rank: int, meeting: Path) -> None:
        """Does another rank's part of a job: the training. All else is the first one's. Raises CoreError."""
        model, tokenizer = self._load(spec.directory, rank)
        company = Ranks.join(rank, spec.ranks, meeting)
        with suppress(JobCancelled, JobPaused):
            self._train(spec, model, tokenizer, company.broadcast(None), company, _NOBODYS)

    def _report(self, event: ChildEvent) -> None:
        """Says what the trainer reports, and how far the whole job is then."""
        self._say(event)
        if isinstance(event, ProgressMade):
            self._phases.progress.trained(event.step, event.steps)
            self._phases.beat()

    def _train(
        self,
        spec: UnlearnSpec,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sets: TrainingSets,
        company: Ranks,
        fingerprint: Fingerprint,
    ) -> TrainingResult:
        """Trains, and makes the model whole again in the first rank, with whom the others part. `fingerprint` tells the
        first what snapshots belong to."""
        threads = torch.get_num_threads()
        torch.set_num_threads(max(1, threads // company.count))
        say = self._report if company.rank == 0 else lambda _: None
        snapshots = None
        if spec.snapshots is not None:
            snapshots = Snapshots(spec.snapshots, spec.fence, fingerprint, report=say, ranks=company)
        began = METER.reading
        result = train(
            model,
            tokenizer,
            spec.method.name,
            spec.method.parameters,
            spec.training,
            sets,
            report=say,
            should_stop=self._cancelled,
            should_pause=self._paused,
            snapshots=snapshots,
            ranks=company,
        )
        meter_other_ranks(company, began)
        gather_model(model, company)
        if self._others is not None:
            self._others.dismiss()
        company.leave()
        torch.set_num_threads(threads)
        return result

    def _measure_only(self, spec: MeasureSpec) -> None:
        with self._phases.during("loading"):
            measurements = self._chosen()
            sets = fetch_records(spec.records)
            reading = chat_validation.choose_eval_settings(spec, sets, self._say)
            parts = split_sets(sets)
            self._something_to_score(parts, reading)
        evaluation = self._evaluation(measurements, parts, reading)
        evaluation.retrained()
        original = None if spec.original is None else evaluation.original(spec.original)
        evaluation.doubt_retrained(original)
        evaluation.lying("after", spec.directory, original=original)
        evaluation.judge(spec.policy)
        self._cost(None)
        self._say(Done(outcome=None))

    def _preview(self, spec: PreviewSpec) -> None:
        """What the model remembers of the forget set, as it is."""
        with self._phases.during("loading"):
            measurements = self._chosen()
            sets = fetch_records(spec.records)
            reading = chat_validation.choose_eval_settings(spec, sets, self._say)
            parts = split_sets(sets)
            self._something_to_forget(parts)
            self._something_to_score(parts, reading)
        evaluation = self._evaluation(measurements, parts, reading)
        evaluation.retrained()
        figures = evaluation.lying("before", spec.directory)
        evaluation.doubt_retrained(figures)
        concluded = preview.conclude(figures)
        self._say(Warned(code=concluded.outcome, message=concluded.words))
        self._cost(None)
        self._say(Done(outcome=concluded.outcome))

    def _evaluation(self, measurements: list[Measurement], parts: DataSplit, reading: Training) -> ModelEvaluation:
        return ModelEvaluation(
            self._spec, measurements, parts, reading, say=self._say, phases=self._phases, load=self._load
        )

    def _something_to_forget(self, parts: DataSplit) -> None:
        if not parts.training.forget:
            raise CoreError("empty_forget_set", "the forget set holds no record")
        if parts.warnings:
            self._say(Warned(code="overlapping_sets", message="; ".join(parts.warnings)))

    def _something_to_score(self, parts: DataSplit, reading: Training) -> None:
        """Leaves out what cannot be measured, the same for every model that is."""
        tokenizer = load_tokenizer(self._spec.model_directory)
        if said := scorable_records.drop_unscorable(parts, tokenizer, reading.chat):
            self._say(Warned(code="nothing_to_score", message="; ".join(said)))

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
            measurements = self._chosen()
            sets = fetch_records(spec.records)
            reading = chat_validation.choose_eval_settings(spec, sets, self._say)
            parts = split_sets(sets)
            self._something_to_forget(parts)
            trained = [*parts.training.forget, *parts.training.unseen]
            trained += [record for one in parts.training.retain for record in one.records]
            scorable_records.refuse_unscorable(
                sets, set(method.needs()), trained, load_tokenizer(spec.directory), spec.training.chat
            )
            self._something_to_score(parts, reading)
        evaluation = self._evaluation(measurements, parts, reading)
        evaluation.retrained()
        with self._phases.during("loading"):
            model, tokenizer = self._load(spec.directory)
            self._trainable(spec, model, method)
            if spec.deliver != "adapter":
                refuse_unexportable(model, spec.directory)
            digest = model_digest(spec.directory)
            fingerprint = _NOBODYS if spec.snapshots is None else job_fingerprint(spec, sets, digest)
        figures = evaluation.before((model, tokenizer), digest, spec.snapshots, fingerprint)
        evaluation.doubt_retrained(figures)
        with self._phases.during("unlearning"):
            company = SINGLE_RANK if self._others is None else Ranks.join(0, spec.ranks, self._others.meeting)
            result = self._train(spec, model, tokenizer, company.broadcast(parts.training), company, fingerprint)
        with self._phases.during("saving"):
            self._save(spec, model, result, figures)
            del model
            gc.collect()
            self._say(Saved(directory=spec.output, step=result.steps))
        evaluation.lying("after", spec.output, original=figures)
        if reading.chat != "raw":
            # not by figures of a format in which the model is not asked: one record that the chat template refuses
            # would bring that about
            evaluation.judge(spec.policy)
        self._cost(result)
        self._say(Done(outcome="unlearned"))

    def _save(self, spec: UnlearnSpec, model: PreTrainedModel, result: TrainingResult, before: Measurements) -> None:
        if spec.deliver == "adapter":
            base = spec.start or spec.model
            export_adapter(model, spec.directory, spec.output, model_card(spec, result, before), base=base)
            return
        if left_out := companion_files(spec.directory).left_out:
            message = f"the checkpoint goes without files that hold weights of before: {', '.join(left_out)}"
            self._say(Warned(code="files_left_out", message=message))
        export(model, spec.directory, spec.output, model_card(spec, result, before, left_out), dtype=spec.dtype)

    def _trainable(self, spec: UnlearnSpec, model: PreTrainedModel, method: Method) -> None:
        """Says what of the model gets no adapter, and what of it is merged by this service alone. Raises CoreError
        where nothing can be trained as asked."""
        layers, lora, alone = layer_count(model), spec.training.lora, spec.deliver == "adapter"
        only = method.trained_weights(layers)
        left_out = check_selection(model, spec.training, only, layer=method.layer(layers), delivered=alone)
        if left_out:
            self._say(Warned(code="no_adapter_there", message=adapter_targets.describe_left_out(left_out)))
        if (
            alone
            and lora is not None
            and (names := adapter_targets.shared_weight_names(adapter_targets.find_targets(model, lora.modules)))
        ):
            message = (
                f"layers share one weight and one adapter ({', '.join(names)}): peft reads it rightly, but its merging"
                " would add it once for each of them; for a merged model ask for output 'merged'"
            )
            self._say(Warned(code="merged_here_only", message=message))

    def _chosen(self) -> list[Measurement]:
        try:
            return resolve_measurements(self._spec.measure)
        except ValidationError as error:
            raise CoreError("bad_measurement", describe_errors(error)) from None
        except UnknownMeasurement as error:
            raise CoreError("bad_measurement", str(error)) from None

    def _load(self, directory: Path, rank: int = 0) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Always in the same precision, so that the figures before and after can be compared."""
        weights = self._spec.training.master_weights
        model, tokenizer = load(directory, self._spec.dtype, device=device(rank), weights=weights)
        if directory == self._spec.model_directory:
            self._phases.expenses.model = ModelFlops.of(model)
        return model, tokenizer

    def _cost(self, result: TrainingResult | None) -> None:
        self._say(
            CostReported(
                **self._phases.expenses.fields(self._spec.training_tokens),
                tokens=result.tokens if result else 0,
                changed_share=result.changed_share if result else None,
            )
        )
