"""One job from its spec to its last event."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from pydantic import ValidationError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from core.evaluation import preview
from core.evaluation.bench import Bench, Loaded
from core.evaluation.cache import Cache, Unusable
from core.evaluation.measurement import Measurement
from core.evaluation.measurements import UnknownMeasurement, chosen
from core.evaluation.measurements.change import SETS, Change
from core.evaluation.one_pass import one_pass
from core.evaluation.suite import measure
from core.evaluation.verdict import judge, knows
from core.lm import adapter, ranks
from core.lm.errors import CoreError
from core.lm.fingerprint import Fingerprint
from core.lm.flops import METER, ModelFlops
from core.lm.model import context_of, device, load, model_digest, tokenizer_of
from core.lm.ranks import ALONE, Ranks
from core.lm.saving import save
from core.lm.sharding import gather
from core.lm.snapshots import Snapshots
from core.pipeline import before, scorable
from core.pipeline.belonging import belonging
from core.pipeline.card import card
from core.pipeline.expense import Expenses, meter_others
from core.pipeline.intake import fetch
from core.pipeline.mistakes import mistakes
from core.pipeline.others import Others
from core.pipeline.parts import Parts, cut
from core.schema.evaluation import Measurements, Moment
from core.schema.events import Cancelled, ChildEvent, Cost, Done, Judged, Measured, Paused, PhaseStarted, Saved, Warned
from core.schema.jobs import Phase
from core.schema.spec import JobSpec, RecordSet
from core.schema.training import Training
from core.unlearning.objectives import UnknownMethod, resolve
from core.unlearning.plan import Sets
from core.unlearning.reading import measured
from core.unlearning.trainable import check
from core.unlearning.trainer import Halted, Stopped, TrainingResult, train

Say = Callable[[ChildEvent], None]
_NOBODYS = Fingerprint({}, b"")
"""For who keeps no snapshots, or leaves it to the first rank to tell whose they are."""


class Run:
    """The phases of one job, their time, and the two moments at which it is measured."""

    def __init__(
        self,
        spec: JobSpec,
        say: Say,
        cancelled: Callable[[], bool],
        paused: Callable[[], bool],
        *,
        began: float,
        others: Others | None = None,
    ) -> None:
        """`began` is the monotonic time at which `loading` did: importing what computes is part of it. `others` are
        the processes that this one shares the training with."""
        self._others = others
        self._spec, self._say, self._cancelled, self._paused = spec, say, cancelled, paused
        self._expenses = Expenses(began=began)
        self._reference: Bench | None = None
        self._reference_digest: str | None = None
        self._original: Bench | None = None
        self._figures_of: dict[Moment, Measurements] = {}
        if spec.threads is not None:
            torch.set_num_threads(spec.threads)

    def __call__(self) -> None:
        """Does the job. Raises CoreError; a wish to stop is heard between phases and between steps.

        A wish to pause is heard here between steps only: at any other time, whoever is told to pause simply ends.
        """
        try:
            {"unlearn": self._unlearn, "preview": self._preview, "measure": self._measure_only}[self._spec.kind]()
        except Stopped:
            self._say(Cancelled())
        except Halted as halted:
            self._say(Paused(step=halted.step))

    def assist(self, rank: int, meeting: Path) -> None:
        """Does another rank's part of a job: the training. All else is the first one's. Raises CoreError."""
        spec = self._spec
        model, tokenizer = self._load(spec.directory, rank)
        company = Ranks.join(rank, spec.ranks, meeting)
        with suppress(Stopped, Halted):
            self._train(model, tokenizer, company.share(None), company, _NOBODYS)

    def _train(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sets: Sets,
        company: Ranks,
        fingerprint: Fingerprint,
    ) -> TrainingResult:
        """Trains, and makes the model whole again in the first rank, with whom the others part. `fingerprint` tells the
        first what snapshots belong to."""
        spec = self._spec
        if spec.method is None:
            raise ValueError("a job that unlearns names its method")
        threads = torch.get_num_threads()
        torch.set_num_threads(max(1, threads // company.count))
        say = self._say if company.rank == 0 else lambda _: None
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
        meter_others(company, began)
        gather(model, company)
        if self._others is not None:
            self._others.dismiss()
        company.part()
        torch.set_num_threads(threads)
        return result

    def _measure_only(self) -> None:
        with self._phase("loading"):
            measurements = self._chosen()
            parts = cut(fetch(self._spec.records))
            self._something_to_score(parts)
        self._measure_reference(measurements, parts)
        original = None
        if self._spec.original is not None:
            with self._phase("measuring_before"):
                digest = model_digest(self._spec.original)
                bench = self._bench("before", self._spec.original, digest, parts)
                original = self._figures(bench, measurements, digest)
                self._keep_original(bench, measurements)
                gc.collect()
            self._say_measured("before", original)
        self._doubt_reference(original)
        self._measured("after", self._spec.directory, measurements, parts, original=original)
        self._judge()
        self._cost(None)
        self._say(Done(outcome=None))

    def _preview(self) -> None:
        """What the model remembers of the forget set, as it is."""
        with self._phase("loading"):
            measurements = self._chosen()
            parts = cut(fetch(self._spec.records))
            self._something_to_forget(parts)
            self._something_to_score(parts)
        self._measure_reference(measurements, parts)
        figures = self._measured("before", self._spec.directory, measurements, parts)
        self._doubt_reference(figures)
        concluded = preview.conclude(figures)
        self._say(Warned(code=concluded.outcome, message=concluded.words))
        self._cost(None)
        self._say(Done(outcome=concluded.outcome))

    def _something_to_forget(self, parts: Parts) -> None:
        if not parts.training.forget:
            raise CoreError("empty_forget_set", "the forget set holds no record")
        if parts.warnings:
            self._say(Warned(code="overlapping_sets", message="; ".join(parts.warnings)))

    def _something_to_score(self, parts: Parts) -> None:
        """Leaves out what cannot be measured, the same for every model that is."""
        if said := scorable.leave_out(
            parts, tokenizer_of(self._spec.base or self._spec.directory), self._reading().chat
        ):
            self._say(Warned(code="nothing_to_score", message="; ".join(said)))

    def _unlearn(self) -> None:
        spec = self._spec
        if spec.method is None:
            raise ValueError("a job that unlearns names its method")
        with self._phase("loading"):
            if spec.deliver != "full" and spec.training.lora is None:
                raise CoreError("no_adapter", f"deliver '{spec.deliver}' needs an adapter (training.lora)")
            try:
                method = resolve(spec.method.name, spec.method.parameters)
            except ValidationError as error:
                raise CoreError("bad_method", mistakes(error)) from None
            except UnknownMethod as error:
                raise CoreError("bad_method", str(error)) from None
            ranks.check(spec.ranks)
            measurements = self._chosen()
            sets = fetch(spec.records)
            parts = cut(sets)
            self._something_to_forget(parts)
            trained = [*parts.training.forget, *parts.training.unseen]
            trained += [record for one in parts.training.retain for record in one.records]
            scorable.refuse(sets, set(method.needs()), trained, tokenizer_of(spec.directory), spec.training.chat)
            self._something_to_score(parts)
        self._measure_reference(measurements, parts)
        with self._phase("loading"):
            model, tokenizer = self._load(spec.directory)
            check(model, spec.training, method.trained(model.config.get_text_config().num_hidden_layers))
        figures, fingerprint = self._figures_before((model, tokenizer), sets, measurements, parts)
        if figures.warnings:  # as one: a job keeps one warning of a code
            self._say(Warned(code="small_sample", message="; ".join(figures.warnings)))
        self._say_measured("before", figures)
        self._doubt_reference(figures)
        with self._phase("unlearning"):
            company = ALONE if self._others is None else Ranks.join(0, spec.ranks, self._others.meeting)
            result = self._train(model, tokenizer, company.share(parts.training), company, fingerprint)
        with self._phase("saving"):
            adapter_of = spec.model if spec.deliver == "adapter" else None
            save(model, tokenizer, spec.output, card(spec, result, figures), adapter_of=adapter_of)
            del model
            gc.collect()
            self._say(Saved(directory=spec.output, step=result.steps))
        self._measured("after", spec.output, measurements, parts, original=figures)
        self._judge()
        self._cost(result)
        self._say(Done(outcome="unlearned"))

    def _chosen(self) -> list[Measurement]:
        try:
            return chosen(self._spec.measure)
        except ValidationError as error:
            raise CoreError("bad_measurement", mistakes(error)) from None
        except UnknownMeasurement as error:
            raise CoreError("bad_measurement", str(error)) from None

    def _measure_reference(self, measurements: list[Measurement], parts: Parts) -> None:
        """Measures the retrained model, where there is one; what it says of each record is kept for comparisons."""
        directory = self._spec.reference
        if directory is None:
            return
        with self._phase("measuring_before"):
            self._reference_digest = model_digest(directory)
            bench = self._bench("reference", directory, self._reference_digest, parts)
            self._reference = bench
            figures = self._figures(bench, measurements, self._reference_digest)
            bench.let_go()
            gc.collect()
        self._say_measured("reference", figures)

    def _figures_before(
        self, loaded: Loaded, sets: list[RecordSet], measurements: list[Measurement], parts: Parts
    ) -> tuple[Measurements, Fingerprint]:
        """The figures of the model as it is, measured unless an earlier attempt has; and what snapshots belong to."""
        spec = self._spec
        digest = model_digest(spec.directory)
        fingerprint = _NOBODYS if spec.snapshots is None else belonging(spec, sets, digest)
        figures = None if spec.snapshots is None else before.kept(spec.snapshots, fingerprint)
        bench = self._bench("before", spec.directory, digest, parts, loaded)
        if figures is None:
            with self._phase("measuring_before"):
                figures = self._figures(bench, measurements, digest)
                self._keep_original(bench, measurements)
            if spec.snapshots is not None:
                with suppress(OSError):  # a full disk: the next attempt, should there be one, measures again
                    before.keep(spec.snapshots, fingerprint, figures)
        else:
            with self._phase("loading"):
                self._keep_original(bench, measurements)
        return figures, fingerprint

    def _measured(
        self,
        moment: Moment,
        directory: Path,
        measurements: list[Measurement],
        parts: Parts,
        *,
        original: Measurements | None = None,
    ) -> Measurements:
        """Measures a model as it lies on disk: the one that was given, or what was saved."""
        with self._phase("measuring_before" if moment == "before" else "measuring_after"):
            digest = model_digest(directory)
            figures = self._figures(self._bench(moment, directory, digest, parts), measurements, digest, original)
        self._say_measured(moment, figures)
        return figures

    def _say_measured(self, moment: Moment, figures: Measurements) -> None:
        self._figures_of[moment] = figures
        self._say(Measured(moment=moment, measurements=figures))

    def _doubt_reference(self, before: Measurements | None) -> None:
        """Warns where the supplied retrained model has seen the forget set: before anything is held against it."""
        reference = self._figures_of.get("reference")
        if reference is not None and (shown := knows(reference, before)):
            message = (
                f"the reference model knows the text to forget (by its {', '.join(shown)}): it was not retrained"
                " without it, and what is held against a retrained model is not judged"
            )
            self._say(Warned(code="reference_knows_the_text", message=message))

    def _judge(self) -> None:
        """Says how the measured model kept the policy, where there is one."""
        if self._spec.policy is None:
            return
        known = self._figures_of
        judgement = judge(
            self._spec.policy, before=known.get("before"), after=known["after"], reference=known.get("reference")
        )
        self._say(Judged(judgement=judgement))
        if judgement.warnings:
            self._say(Warned(code="not_all_judged", message="; ".join(judgement.warnings)))

    def _keep_original(self, bench: Bench, measurements: list[Measurement]) -> None:
        """Keeps what the model as it came says of each record that must survive, for the change of each, and lets the
        model go, which others may change."""
        if any(one.name == Change.name for one in measurements):
            for name in SETS:
                if name in bench.sets:
                    one_pass(bench, name)
        bench.let_go()
        self._original = bench

    def _bench(self, moment: Moment, directory: Path, digest: str, parts: Parts, loaded: Loaded | None = None) -> Bench:
        spec = self._spec

        def load_again() -> Loaded:
            base = self._base_of(directory)
            model, tokenizer = self._load(base or directory)
            if base is not None:
                adapter.read(model, directory)
            return model, tokenizer

        return Bench(
            load_again,
            parts.measuring,
            training=self._reading(),
            moment=moment,
            loaded=loaded,
            reference=self._reference,
            original=self._original,
            cache=self._cache_of(directory, digest),
            heard=self._heard,
            benchmark_tasks=spec.benchmark_tasks,
            benchmark_code=spec.benchmark_code,
        )

    def _reading(self) -> Training:
        """How records are read to be measured: a job that only measures says it itself, no other does."""
        training = self._spec.training
        if self._spec.kind == "measure":
            return training
        return measured(training, context=context_of(self._spec.directory))

    def _base_of(self, directory: Path) -> Path | None:
        """The model that belongs to the adapter which the directory holds; None: it holds a model of its own."""
        spec = self._spec
        if directory == spec.output and spec.deliver == "adapter":
            return spec.directory
        return spec.base if directory == spec.directory else None

    def _cache_of(self, directory: Path, digest: str) -> Cache | None:
        """Where what was measured of the model is kept. An adapter alone says too little of what was measured."""
        spec = self._spec
        if spec.cache is None or self._base_of(directory) is not None:
            return None
        try:
            return Cache(spec.cache, model_digest=digest, dtype=spec.dtype)
        except Unusable as error:
            self._say(Warned(code="not_kept", message=str(error)))
            return None

    def _load(self, directory: Path, rank: int = 0) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """Always in the same precision, so that the figures before and after can be compared."""
        weights = self._spec.training.master_weights
        model, tokenizer = load(directory, self._spec.dtype, device=device(rank), weights=weights)
        if directory == (self._spec.base or self._spec.directory):
            self._expenses.model = ModelFlops.of(model)
        return model, tokenizer

    def _figures(
        self, bench: Bench, measurements: list[Measurement], digest: str, original: Measurements | None = None
    ) -> Measurements:
        def before_each(measurement: Measurement) -> None:
            self._heard()
            if measurement.attacks and bench.moment == "after":
                self._turn_to("attacking")

        return measure(
            bench,
            measurements,
            model_digest=digest,
            reference_digest=self._reference_digest,
            original=original,
            before_each=before_each,
        )

    def _heard(self) -> None:
        if self._cancelled():
            raise Stopped

    @contextmanager
    def _phase(self, name: Phase) -> Iterator[None]:
        """`name` until something else begins; whose time is nobody's counts for neither."""
        self._heard()
        self._expenses.turn_to(name)
        if name != "loading":  # which was said before torch was imported
            self._say(PhaseStarted(phase=name))
        try:
            yield
        finally:
            self._expenses.book()

    def _turn_to(self, name: Phase) -> None:
        """Goes on in another phase, unless it is that one already."""
        if name != self._expenses.phase:
            self._expenses.book()
            self._expenses.turn_to(name)
            self._say(PhaseStarted(phase=name))

    def _cost(self, result: TrainingResult | None) -> None:
        self._say(
            Cost(
                **self._expenses.fields(self._spec.training_tokens),
                tokens=result.tokens if result else 0,
                changed_share=result.changed_share if result else None,
            )
        )
