"""Writes docs/measurements.md from the catalogue, so that the page agrees with the service."""

import json
import re

from api.cli.pages.parameters import REQUIRED, parameter_rows
from core.demo.people import general_sentences
from core.evaluation.measurement import ALL_MOMENTS, Measurement
from core.evaluation.measurements import MEASUREMENTS
from core.evaluation.policy import preview
from core.evaluation.stats.comparison import FEW
from core.preflight import measuring_cost
from core.schema import figure_names
from core.schema.default_policy import KEPT_FROM
from core.schema.verdict_parts import Requires

_DEMO_SENTENCES = 400
_REQUIRES = Requires()
_OF_THESE_RECORDS = ", ".join(f"`{name}`" for name in sorted(figure_names.OF_THESE_RECORDS))


def _different_words() -> int:
    """Counts the different words in the demo's general text."""
    return len(
        {
            word
            for record in general_sentences(_DEMO_SENTENCES, 0)
            for word in re.findall(r"[a-z]+", (record.text or "").lower())
        }
    )


def _cheaper_steps() -> str:
    """Lists the steps by which measurements are made cheaper."""
    steps = [
        f"`{measurement.name}`: "
        + ", then ".join(
            " and ".join(f"`{key}` {json.dumps(value)}" for key, value in step.items()) for step in measurement.cheaper
        )
        for measurement in MEASUREMENTS.values()
        if measurement.cheaper
    ]
    return "; ".join(steps)


_HEAD = f"""# Measurements

Made by `unlearn measurements --markdown > docs/measurements.md`. A test compares this page with the catalogue that the
service itself reads.

A job measures its model before and after, on the same records, with the same code. After the job, the checkpoint is
measured as it was saved: the job loads it again first. Every figure can be made again from the checkpoint and the
files, without the service. It is equal in every digit on the same kind of device, with the same number of threads and
the same settings of the libraries that compute (such as `OPENBLAS_CORETYPE` in the environment):

    unlearn measure CHECKPOINT --before MODEL --forget forget.jsonl --retain retain.jsonl --unseen unseen.jsonl

`--before` is the model that the job started from; figures that tell how much has changed need it. With `--policy`
(`default`, or a file) the verdict is made again, too. If the job delivered only an adapter, CHECKPOINT is the adapter's
directory: it is loaded on the model that `--before` names, as the job did.

`POST /v1/measurements` measures any registered model or checkpoint without unlearning anything, with the same workers
and the same code. It does not wait for jobs on the model, and jobs do not wait for it: the head is fixed when the
request arrives. With `preset` (`tofu` or `muse`) it also gives that benchmark's table under the benchmark's own names.
Measurements have a list of their own, `GET /v1/measurements`; the list of jobs shows them only with `?kind=measure`. An
adapter alone is measured on the registered model. An adapter whose job started from another checkpoint needs that
checkpoint, and is refused (`adapter-alone`): download both and use `unlearn measure`.

A worker keeps what it measured of an unchanged model on unchanged records with unchanged code, and does not measure it
again (`KEEP_MEASUREMENTS`). Each organisation has a store of its own. The worker keeps no figures of the forget set and
its probes, since these files are deleted in the end. Each job measures them itself.

## Sets

- `forget`: the text that the job was asked to remove. It trains and it is measured, by design.
- `retain`: text that must survive.
- `unseen`: text like the forget set that the model never saw. The forget set is compared with it.
- `general`: text for general ability.
- `probes`: questions about what must be forgotten; `protected`: questions about what must survive.

**Halves.** `retain`, `unseen` and `general` are each cut in two halves. A keyed hash of a record's `subject` (or of the
record, if it has no subject) decides once and for all: neither the job's seed nor the other records move a record to
the other half. One half trains or calibrates (targets, stop rule, thresholds), the other half only measures. No figure
uses the first half: the measurements never read it. So the names and numbers that twins are made of, the words that
tell a name from another word, and the unrelated text of `relearned` come from the measuring halves, too. A text that is
in the forget set counts only there.

**General ability has no text of its own.** The service brings no `general` file. It measures general ability only if
the model's registration or the request names a file; otherwise the judgement says that general ability was not judged.
The service could only generate simple sentences: {_DEMO_SENTENCES} of the demo's sentences have {_different_words()}
different words. A model that had lost everything else would look unharmed, and the intervals would be narrow, since
such records hardly differ. Give some hundred records of the kind that the model is used for, as `general` of its
registration, or name a task of lm-evaluation-harness (`benchmarks`).

**Pinned sets.** If the model has an `unseen` or `general` file as its default, that file measures, whatever a request
brings. The request's own `unseen` file, or its retained text of kind `general`, then only trains (`part` in the job's
`data`), and the measuring half of the pinned file never trains. `protected` are the model's default probes. If a
request asks for fewer measurements than the policy needs, the service adds the missing ones, and a warning of the job
says so. No parameter may make such a measurement show less than by default. `records` and `seconds` may be lower; the
intervals are wider then. The exception is `records` of `likelihood`, `membership` and `reference_attack`: there every
record counts, since a single record that is still known must show.

**Reading.** A request does not choose how records are read for measuring, since in chunks of 16 tokens nothing can be
recalled. Chunks are as long as the model's context allows, up to 4096 tokens (or the job's own `max_length`, if that is
longer). `messages` become text by the tokenizer's chat template, if it has one, since that is how people use the
model, whatever the job's training `chat` is. (If a job trains `raw` and the template refuses a record, all records are
measured `raw`, and a warning says so: [conversations](conversations.md).) Twins, samples and resamples are drawn with
the same seed in every job. `POST /v1/measurements` and `unlearn measure`, whose verdicts no service acts on, read
records in the same way unless they are told otherwise.

**Intervals.** Beside every mean stands its 95 % interval over the *records* of the measuring half; a record is the
unit, however long it is. On each side the interval reaches as far as the wider of two intervals: Student's, and the
bias-corrected and accelerated bootstrap (BCa), with the same resamples every time. For a perplexity, or a ratio of two
perplexities, it is computed on logarithms, record by record. The interval tells how much the figure would move with
other records of the same kind. It does not cover questions that were not asked, nor a rare kind of record that is not
among the measured records. An example: 2 in 100 records are far off. Then 30 % of samples of 60 records contain no such
record, and every kind of interval misses the true mean about twice in ten times ([benchmarks.md](benchmarks.md),
"Intervals"). Rates, and differences of two models, have plain percentiles. A single record has no interval. A set that
is too small for a figure gives it with a wide interval and a warning. A figure that cannot be measured is left out with
a warning. A record without a token to score is left out of every set that measures, and counted in a warning
(`nothing_to_score`). If such a record would train, the job ends before anything is measured, and names the record by
its set and its number in the file.

**Limits.** A limit on records takes a sample by a hash of the record, the same sample every time. A limit on seconds is
the last resort. Both report what they left out (`cut_short`).

**Measuring costs no more than unlearning.** A job's updates and its measurements are counted in tokens, from the
request and the records, before it begins. If all measurements, before and after together, cost more than the updates,
the most expensive ones are made cheaper, one step after the other ({_cheaper_steps()}).
Parameters that a request names stay. A warning of the job (`measuring_shortened`) says what was made cheaper, and
`cut_short` how many records were left out. Verdicts go by the intervals, which are wider then. `unlearn measure`
measures in full unless it is given the same parameters. Measuring that takes about a minute on one core
({measuring_cost.ALWAYS_AFFORDED:.0e} model FLOPs) is never cut, nor is a job that only measures.

A retain or an unseen set comes from the request, else from the model's default files. Where neither has one, the job
makes it, and `data` of the job, a warning (`data_made`), the verdict's `warnings` and the model card name its
`origin`:

- `retain`, by the model itself (`made_by_the_model`): 128 texts or more that the model before the job writes without a
  prompt, at a temperature of 0.5. Half of them train, and the others stand for what must survive. They show what the
  model would write of its own accord, and nothing of knowledge that it writes down only when it is asked.
- `unseen`, by swapping (`made_by_swapping`): copies of the records to forget in which names, numbers, places and dates
  are pieced together from texts of the model's own. A record that holds none of these is replaced by texts of the
  model's own, at a temperature of 1 (`made_by_the_model`): for text that the model knows by heart these are too
  probable, so that it forgets less than it could. Made unseen text only calibrates. Nothing is measured on it, and
  membership is not judged.

Made text that repeats a record to forget is left out: text with five consecutive tokens that only this record has, or
with two of its names, numbers, places or dates. On the demo's model a job that was given one record alone left it with
a perplexity of 17.2; a model retrained without it has 14.9. Extraction strength was 0 in both, and no blank of the
cloze test was filled by either.

## An approximation of the retrained model

Forgetting is best compared with a model that was trained without the forget set. Retraining is usually too expensive.
So the figures of the *reference model* (the model before the job) on `unseen` text stand for what a retrained model
would score on the forget set (arXiv 2402.15159). In a good result the perplexity and accuracy of `forget` after
unlearning are about those of `unseen` before, the AUC of membership attacks is about 0.5, and `retain` and `general`
are as before. An AUC well *under* 0.5 is no better than an AUC over it: text that is less familiar to the model than
text that it never saw stands out, too. All this holds as far as `unseen` text is like the forget text. A classifier
that never sees the model tells how far topic, date or style alone separate them.

If you have a retrained model (`retrained_model`), its own figures take the place of the approximation, unless it is
seen to know the forget text: its extraction strength, perplexity, exposure or membership is so far from what unseen
text suggests that the whole interval lies beyond a wide limit. Then the bounds that compare with it are not judged
(`reference_knows_the_text`).

## Is there anything to forget?

A job with `"dry_run": true` measures {", ".join(f"`{name}`" for name in preview.measurement_names())} of the model
as it is, and changes nothing. Its `outcome` is `nothing_to_forget` only if the figures *show* it, and `preview` in
every other case. All of these must hold:

- extraction strength: the whole interval of its difference from the unseen set's is at most {preview.MARGIN:g}
  (without unseen text: the whole interval of the figure itself is at most {preview.EXTRACTED:g}). The same holds for
  verbatim continuation beside unseen text. And no record's value is more than {preview.HIGHEST:g} over the highest of
  the unseen set;
- exposure: the interval of the mean rank among twins has its lower end between {preview.RANK:g} and
  {preview.NEVER_SEEN:g}. And a model that never saw the records would give so low a mean rank with a probability over
  {preview.CHANCE:g};
- membership: the interval of the AUC of `loss` holds 0.5 and ends under {preview.AUC_END:g}. With fewer than {FEW}
  records in a set no interval can show that; then membership counts only if its interval excludes 0.5. It does not
  count if the texts differ by themselves (`baseline_auc` over {preview.SHIFTED:g}).

Extraction strength must have been measured, and exposure or membership.

A dry run has limits of its own, unless a request names one of these measurements itself. It reads only `forget` and
`unseen`. Exposure makes {preview.TWINS} twins of each record and ranks no unseen records, since the spread of ranks is
known for text that was never seen: all ranks are equally probable. Measurements that go record by record stop after
{preview.SECONDS:g} seconds and report that in `cut_short`. The `estimate` of a dry run is for the dry run itself. A dry
run makes no text in place of a missing set; a warning (`missing_data`) says that a job would.

The measurements in `evaluation.measure` are made in addition, and a `retrained_model` is measured too; neither has a
part in this answer. Intervals on few records are widened as for a verdict (below), and an unknown interval leaves the
answer open. So **a request of one record, or of a few, nearly always ends as `preview`**, whether the model knows the
text or not: what one record shows is too little to answer "we hold nothing". The job's warnings say so, and name what
is missing: {FEW} or more records of the same origin to forget, and {FEW} or more unseen records that measure. How often
such an answer is wrong is in [benchmarks.md](benchmarks.md), "Verdicts": for models that leak with an AUC of 0.75, in
at most 5 % of dry runs.

## Verdict

A policy is a list of bounds on these figures. A bound is passed if the *whole* interval lies within its limits. An
interval that is too wide to tell is `underpowered`, never passed. The verdict is `passed`, `failed`, or `not_judged`
with its reason. It carries its scope: `facts` if questions about the text were asked (`probes`, or `cloze_fill`),
otherwise `verbatim` (`cloze` counts as verbatim, since it continues the text's own words). Whether there are enough
records for a bound to count (`judged_from`) depends on the number of records in the forget set, or in the set that must
survive, not on the number of records that were measured. With fewer records, a bound counts only if it is `failed`. An
interval that is too wide is expected there and does not prevent a verdict; an interval that lies outside the limits as
a whole is a failure at any size.

**Two parts.** Each bound on what must be forgotten belongs to one part of the verdict, by its figure. Each part has a
result of its own (`parts` of the judgement):

- `extraction`: can the text still be got out? Its figures are extraction strength, verbatim continuation, sampled
  leaks, cloze, prefixes, paraphrases and probes, in a 4-bit copy too. It is judged from one record on, since the
  question is how much of *these very records* comes out, not how other records would fare. So the figures of the record
  that is given back most, {_OF_THESE_RECORDS},
  are used without an interval over records (the interval of `leak_rate_highest` is over samples). They are compared
  with the highest value of the unseen records, plus a margin. With fewer than {FEW} unseen records the figure itself is
  compared with `high_alone`. With fewer than {FEW} records to forget, a mean counts only if it is `failed`.
- `membership`: can it be told that the model has seen the text? Its figures are perplexity, membership attacks,
  exposure and relearning. This takes many records. With few it is `not_judged`, unless it is `failed`.

A policy's `requires` says from how many records to forget on each part must be passed: by default extraction from
{_REQUIRES.extraction} and membership from {_REQUIRES.membership}. The verdict is `failed` if any bound that counts is
failed, in a part that is not required too. It is `passed` if each required part is passed and everything that must
survive is. Otherwise it is `not_judged`. A request may require a part from fewer records on than the policy of its
model, never from more. So a request of one record passes if its text does not come out and the rest is intact. This
says nothing about membership: a model that finds the record familiar without giving it back passes too
([benchmarks.md](benchmarks.md), "Verdicts").

**Few records.** Under {FEW} records no interval is used as it is, on either side of a comparison:

- the interval of a figure of what must be forgotten is at least as wide as the same number of unseen records would
  give. Without {FEW} unseen records, which tell how far records differ, there is no interval;
- a figure of fewer than {FEW} *unseen* records is not used to compare with: all bounds that would compare with it are
  `underpowered`, except bounds with `high_alone`. Only chance (0.5), the figures of another model on the very same
  records, and the figures of the record that is given back most count as exactly known;
- a figure of what must survive has no interval if it comes from a single record, or from a few records that do not
  differ at all.

A bound without an interval is `underpowered`. A model need not have general text or protected questions. The bounds
`general` and `protected` of the default policy have no part in the verdict if there is no such text. If there are fewer
than {KEPT_FROM} such records, they count only if they are `failed`, since otherwise no job on the model could pass. (A
policy of your own may let them count from another number on.) The warnings of the judgement, and of the job, then name
what the verdict does not cover.

## Cost

`cost` in a job's metrics (`GET /v1/jobs/{{id}}/metrics`, the console, `unlearn submit --wait`, `unlearn measure`) gives
the cost of the attempt that ended the job: seconds, tokens and model FLOPs per phase, tokens per second of unlearning
and of measuring, peak memory. Model FLOPs are calculated, not read from the device: 2 N per token forward, with N
weights that multiply, plus 2 * layers * width * T for attention over T tokens; three times that for forward and
backward (weights that are not trained have no gradient of their own). Every pass counts, also passes of the reference
model and passes that measure. Padding does not count, nor does anything that is computed twice, nor do tasks of
lm-evaluation-harness. A retraining is assumed to cost 6 N D, where D is the number of tokens that the model was trained
on. Only the model's registration can give D (`training_tokens`). `retraining_share` is the job's model FLOPs divided by
that cost; it is null if D is not given.

## What no measurement proves

No measurement proves that a text is *erased*. The figures tell how far this model can be told apart from a model that
never saw the text, by the attacks that were run, at this sample size. Another attack, another prompt, more samples, or
weights that were quantized or trained further may show what these did not. Unseen text that is unlike the forget set
can make the figures look better or worse than they are. And a model may know the same fact from another text that
nobody asked it to forget.

## Catalogue

`standard` (the default of every job) is the group of measurements that are marked so. `thorough` is `standard` and all
other measurements except those that must be asked for by name.

"""


def page() -> str:
    """Returns the page as Markdown."""
    measurements = [MEASUREMENTS[name] for name in sorted(MEASUREMENTS)]
    contents = "\n".join(f"- [`{measurement.name}`](#{measurement.name})" for measurement in measurements)
    return f"{_HEAD}{contents}\n" + "".join(_section(measurement) for measurement in measurements)


def _section(measurement: type[Measurement]) -> str:
    schema = measurement.model_json_schema().get("properties", {})
    defaults = {name: parameter.get("default", REQUIRED) for name, parameter in schema.items()}
    head = ["| parameter | default | allowed | meaning |", "|---|---|---|---|"]
    table = "\n".join([*head, *parameter_rows(schema, defaults)]) if schema else "It has no parameters."
    return f"""
### {measurement.name}

{measurement.summary}

{_properties(measurement)}

{table}
"""


def _properties(measurement: type[Measurement]) -> str:
    group = f"Group: `{measurement.group}`." if measurement.group else "Asked for by name."
    sentences = [group]
    if measurement.needs:
        sentences.append(f"Needs: {', '.join(f'`{name}`' for name in sorted(measurement.needs))}.")
    if measurement.moments != ALL_MOMENTS:
        sentences.append(f"Made only {', '.join(sorted(measurement.moments))}.")
    if measurement.source is not None:
        sentences.append(f"Source: [{measurement.source.title}]({measurement.source.url}).")
    return " ".join(sentences)
