"""Records with messages, held against a chat template before anything is computed: a job reads all of them alike."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.lm.answer_span import check_record
from core.lm.chat_template import ChatTemplate, Refusal
from core.lm.data import chat_template, message_template
from core.lm.errors import CoreError
from core.lm.model import load_tokenizer
from core.pipeline.model_evaluation import job_eval_settings
from core.pipeline.phases import Say
from core.schema.events import Warned
from core.schema.files import file_label
from core.schema.job_spec import JobSpec, RecordSet
from core.schema.training import Training


@dataclass
class Conversations:
    """What a template makes of the messages of a job's records, up to the first record that it does not write."""

    refusal: str | None = None
    """Which record, by set and number in its file, and why; no text of it."""
    rewritten: list[str] = field(default_factory=list)
    """Of each file, how many records have earlier turns that the template leaves out or writes in another form."""


def rendered(sets: Sequence[RecordSet], template: ChatTemplate) -> Conversations:
    """Renders every record that has messages, until one is refused."""
    found = Conversations()
    names = [records.name for records in sets]
    for place, records in enumerate(sets):
        rewritten = 0
        for number, record in enumerate(records.records, start=1):
            if not record.is_conversation:
                continue
            try:
                rewritten += check_record(record, template)
            except Refusal as refusal:
                found.refusal = f"{file_label(names, place)}: record {number}: the chat template {refusal.reason}"
                return found
        if rewritten:
            found.rewritten.append(f"{rewritten} of {file_label(names, place)}")
    return found


def choose_eval_settings(spec: JobSpec, sets: Sequence[RecordSet], say: Say) -> Training:
    """How all records of a job are read to be measured, once it is certain that all can be read in one way.

    A job that trains on messages as they stand is measured by the model's chat template nevertheless, unless that does
    not write all of them: then all are measured as they stand, and the job warns of it. Raises CoreError
    `bad_chat_template` with the first record that a template which the job goes by does not write, and
    `no_chat_template`.
    """
    tokenizer, chosen = load_tokenizer(spec.model_directory), job_eval_settings(spec)
    if not any(record.is_conversation for records in sets for record in records.records):
        return chosen
    message_template(tokenizer, spec.training.chat)
    template = None if chosen.chat == "raw" else chat_template(tokenizer)
    found = Conversations() if template is None else rendered(sets, template)
    if found.refusal is not None:
        if spec.training.chat != "raw":
            raise _refused(found.refusal)
        message = (
            f"{found.refusal}: all messages are measured turn by turn, which is not how the model is asked, so that"
            " the result is not judged: mend or leave out the record for a verdict"
        )
        say(Warned(code="measured_raw", message=message))
        return chosen.model_copy(update={"chat": "raw"})
    if found.rewritten:
        message = f"the chat template leaves out or rewrites earlier turns of records: {', '.join(found.rewritten)}"
        say(Warned(code="turns_rewritten", message=message))
    for directory in spec.compared_models:
        if chosen.chat != "raw":
            _compared(sets, template, chat_template(load_tokenizer(directory)), say)
    return chosen


def _compared(sets: Sequence[RecordSet], template: ChatTemplate | None, other: ChatTemplate | None, say: Say) -> None:
    """Warns where a model to compare with is asked in another way; CoreError where its template refuses a record."""
    if (other and other.source) == (template and template.source):
        return
    if other is not None and (refusal := rendered(sets, other).refusal) is not None:
        raise _refused(f"{refusal}, of the model to compare with")
    message = (
        "the model to compare with is asked in another way: it has another chat template, or it alone has or lacks"
    )
    say(Warned(code="other_chat_template", message=f"{message} one"))


def _refused(what: str) -> CoreError:
    advice = "mend the record, leave it out, or choose chat 'raw', which reads all records without the template"
    return CoreError("bad_chat_template", f"{what}: {advice}")
