"""Checks records with messages against the chat template before computing, since a job tokenizes all of them alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.lm.answer_span import check_record
from core.lm.chat_template import ChatTemplate, Refusal
from core.lm.data import chat_template, message_template
from core.lm.errors import CoreError
from core.lm.model import load_tokenizer
from core.pipeline.model_evaluation import job_eval_settings
from core.pipeline.phases import Emit
from core.schema.events import Warned
from core.schema.files import file_label
from core.schema.job_spec import JobSpec, RecordSet
from core.schema.training import Training


@dataclass
class RenderingResult:
    """How a chat template renders the messages of a job's records, up to the first record that it refuses."""

    refusal: str | None = None
    """The refused record, by set and number in its file, and the reason; none of the record's text."""
    rewritten: list[str] = field(default_factory=list)
    """For each file, the number of records with earlier turns that the template leaves out or rewrites."""


def render_all(sets: Sequence[RecordSet], template: ChatTemplate) -> RenderingResult:
    """Renders every record with messages, until one is refused."""
    result = RenderingResult()
    names = [records.name for records in sets]
    for index, records in enumerate(sets):
        rewritten = 0
        for number, record in enumerate(records.records, start=1):
            if not record.is_conversation:
                continue
            try:
                rewritten += check_record(record, template)
            except Refusal as refusal:
                result.refusal = f"{file_label(names, index)}: record {number}: the chat template {refusal.reason}"
                return result
        if rewritten:
            result.rewritten.append(f"{rewritten} of {file_label(names, index)}")
    return result


def choose_eval_settings(spec: JobSpec, sets: Sequence[RecordSet], emit: Emit) -> Training:
    """The settings that all records of a job are measured with, which must fit all of them.

    A job that trains with chat 'raw' is measured by the model's chat template nevertheless. Where the template refuses
    a record, all records are measured raw, and the job warns of it. Raises CoreError `bad_chat_template` with the first
    record that a template which the job trains or measures by refuses, and `no_chat_template`.
    """
    tokenizer, settings = load_tokenizer(spec.model_directory), job_eval_settings(spec)
    if not any(record.is_conversation for records in sets for record in records.records):
        return settings
    message_template(tokenizer, spec.training.chat)
    template = None if settings.chat == "raw" else chat_template(tokenizer)
    result = RenderingResult() if template is None else render_all(sets, template)
    if result.refusal is not None:
        if spec.training.chat != "raw":
            raise _bad_chat_template(result.refusal)
        message = (
            f"{result.refusal}: all messages are measured turn by turn, which is not how the model is prompted, so"
            " that the result is not judged: for a verdict, mend the record or leave it out"
        )
        emit(Warned(code="measured_raw", message=message))
        return settings.model_copy(update={"chat": "raw"})
    if result.rewritten:
        message = f"the chat template leaves out or rewrites earlier turns of records: {', '.join(result.rewritten)}"
        emit(Warned(code="turns_rewritten", message=message))
    for directory in spec.compared_models:
        if settings.chat != "raw":
            _check_other_template(sets, template, chat_template(load_tokenizer(directory)), emit)
    return settings


def _check_other_template(
    sets: Sequence[RecordSet], template: ChatTemplate | None, other: ChatTemplate | None, emit: Emit
) -> None:
    """Warns where a model to compare with has another chat template. CoreError where that refuses a record."""
    if (other and other.source) == (template and template.source):
        return
    if other is not None and (refusal := render_all(sets, other).refusal) is not None:
        raise _bad_chat_template(f"{refusal}, of the model to compare with")
    message = "the model to compare with is prompted in another way: it has another chat template, or only one has one"
    emit(Warned(code="other_chat_template", message=message))


def _bad_chat_template(refusal: str) -> CoreError:
    advice = "mend the record, leave it out, or choose chat 'raw', which reads all records without the template"
    return CoreError("bad_chat_template", f"{refusal}: {advice}")
