"""docs/measurements.md, written from the catalogue, so that what it says is what the service does."""

import re

from api.cli.parameters import REQUIRED, parameter_rows
from core.demo.people import general_sentences
from core.evaluation.measurement import ALL_MOMENTS, Measurement
from core.evaluation.measurements import MEASUREMENTS
from core.evaluation.policy import preview
from core.evaluation.stats.comparison import FEW
from core.schema.default_policy import KEPT_FROM

_MADE = 400


def _different_words() -> int:
    """In general text as the demo makes it."""
    return len(
        {word for record in general_sentences(_MADE, 0) for word in re.findall(r"[a-z]+", (record.text or "").lower())}
    )


_HEAD = f"""# Measurements

Made by `unlearn measurements --markdown > docs/measurements.md`; a test holds it to the catalogue that the service
itself reads.

A job measures its model before and after, on the same records, with the same code. What is measured after is the
checkpoint as it was saved and loaded again. Every figure can be made again from the checkpoint and the files, without
the service, equal in every digit on the same kind of device with as many threads and the same settings of the libraries
that compute (such as `OPENBLAS_CORETYPE` in the environment):

    unlearn measure CHECKPOINT --before MODEL --forget forget.jsonl --retain retain.jsonl --unseen unseen.jsonl

`--before` is the model that the job started from, for what says how much has changed; with `--policy` (`default`, or a
file) the verdict is made again, too. Of a job that delivered an adapter alone, CHECKPOINT is the adapter's directory:
it is loaded on the model that `--before` names, as the job did.

`POST /v1/measurements` measures any registered model or checkpoint without unlearning anything, by the same workers
and code. It waits for no job on the model and holds none up: the head is pinned when it is asked for. With `preset`
(`tofu` or `muse`) it also gives that benchmark's table under its own names. Measurements have a list of their own,
`GET /v1/measurements`; that of jobs shows them with `?kind=measure` alone. An adapter alone is measured on the
registered model; one whose job started from another checkpoint needs that one beside it, and is refused
(`adapter-alone`): download both for `unlearn measure`.

What was measured of an unchanged model on unchanged records by unchanged code is not measured twice: a worker keeps it
(`KEEP_MEASUREMENTS`), for each organisation apart. Of the forget set and its probes it keeps nothing, not even figures,
since those files are deleted in the end: each job measures them itself, and what other sets say once for all jobs.

## Sets

- `forget`: what the job was asked to remove. It trains and it is measured, by design.
- `retain`: what must survive.
- `unseen`: text like that to forget which the model never saw: the yardstick.
- `general`: text for general ability.
- `probes`: questions about what must be forgotten; `protected`: questions about what must survive.

**Halves.** `retain`, `unseen` and `general` are each cut in two, once and for ever, by a keyed hash of a record's
`subject` (else of the record): neither the job's seed nor the other records move one to the other half. One half
trains or calibrates (targets, stop rule, thresholds), the other only measures, and no figure stands on the first:
what measures never reads it. So the names and numbers that twins are made of, the words that tell a name from another,
and the unrelated text of `relearned` come from the halves that measure, too. A text that is in the forget set counts
there alone.

**General ability has no text of its own.** The service brings no `general` file, and measures none where neither the
model's registration nor a request names one; the judgement then says that general ability was not judged. What can be
made here without borrowing anybody's text is a few sentences with words put in: in {_MADE} of the demo's there are
{_different_words()} different words. A model that had lost all but those would look unharmed, and intervals over
records that hardly differ would say so with confidence. Bring some hundred records of what the model is used for, as
`general` of its registration, or name a task of lm-evaluation-harness (`benchmarks`).

**Pinned.** Where the model has an `unseen` or `general` file as its default, that one measures, whatever a request
brings: the request's own `unseen` file, or retained text of kind `general`, only trains then (`part` in the job's
`data`), and none of the pinned half that measures trains. `protected` are the model's default probes. A request for
fewer measurements than the policy goes by is completed (the job's warnings say so), and none of these can be asked for
with parameters by which it would show less than by default; `records` and `seconds` may be lower, for wider intervals,
except `records` of `likelihood`, `membership` and `reference_attack`: one record that is still known must show.

**Reading.** How records are read to be measured is no choice of a request, since in chunks of 16 tokens nothing is
recalled: chunks are as long as the model's context allows, up to 4096 tokens (or the job's own `max_length`, where that
is longer); `messages` become text by the tokenizer's chat template where it has one, since that is how the model is
asked, whatever the job's `chat` is for its training (a job that trains `raw` on records that the template refuses is
measured `raw` as a whole, and warns of it: [conversations](conversations.md)); twins, samples and resamples are drawn
by the same seed in every job. `POST /v1/measurements` and `unlearn measure`, which give no verdict that a service goes
by, read the same way unless they are told otherwise.

**Intervals.** Beside every mean stands its 95 % interval over the measuring half's *records* (a record is the unit,
however long it is): on each side as far as the wider of Student's interval and the bias-corrected and accelerated
bootstrap (BCa) reaches, with the same resamples every time; of a perplexity, or a ratio of two, on logarithms, record
by record. It says how much the figure would move with other records of the same kind; it does not know of what was not
asked, nor of records of a kind that is rare and not among those measured: of 60 records, of which 2 in 100 are far off,
three samples in ten hold none of these, and no interval holds the true mean more than about eight times in ten
([benchmarks.md](benchmarks.md), "Intervals"). Rates and differences of two models have plain percentiles. One record
has no interval. A set that is too small
for a figure gives it with its wide interval and a warning; what cannot be measured is left out with a warning. Records
without a token to score are left out of every set that measures, counted in a warning (`nothing_to_score`); one that
would train ends the job before anything is measured, named by its set and its number in the file.

**Limits.** A limit on records takes a sample by a hash of the record, the same every time. A limit on seconds is the
last resort. Both say what they left out (`cut_short`).

## The retrained model, approximately

The yardstick for forgetting is a model that was trained without the forget set. Retraining is out of reach, so the
*original* model's figures on `unseen` text stand for what that model would score on the forget set (arXiv
2402.15159). A good result: the perplexity and accuracy of `forget` after unlearning are about those of `unseen`
before, the AUC of membership attacks is about 0.5, `retain` and `general` are as before. An AUC well *under* 0.5 is
no better than one over it: text that the model finds less familiar than what it never saw stands out, too. This holds
as far as `unseen` text is like the forget text: a classifier that never sees the model says how far topic, date or
style alone tell them apart. Where there is a model that was retrained (`retrained_model`), its own figures take the
approximation's place, unless it is seen to know the forget text: extraction strength, perplexity, exposure or
membership so far from what unseen text lets one expect that its whole interval is beyond a wide limit. Then what would
be held against it is not judged (`reference_knows_the_text`).

## Is there anything to forget?

A job with `"dry_run": true` measures {", ".join(f"`{name}`" for name in preview.measurement_names())} of the model
as it is, and changes nothing. Its `outcome` is `nothing_to_forget` only where that is *shown*, `preview` in every
other case:

- extraction strength: the whole interval of its difference to the unseen set's is at most {preview.MARGIN:g} (without
  unseen text: that of the figure itself at most {preview.EXTRACTED:g}); the same of verbatim continuation beside unseen
  text; and no record's is more than {preview.HIGHEST:g} over the unseen set's highest;
- exposure: the mean rank among twins has an interval whose lower end is from {preview.RANK:g} to
  {preview.NEVER_SEEN:g}, and ranks as low have a probability over {preview.CHANCE:g} for a model that never saw the
  records;
- membership: the interval of the AUC of `loss` holds 0.5 and ends under {preview.AUC_END:g}. Of fewer than {FEW}
  records in a set no interval can show that: then it only counts where it excludes 0.5. It does not count where the
  texts differ by themselves (`baseline_auc` over {preview.SHIFTED:g}).

A dry run has a budget of its own, unless a request names one of these measurements itself: only `forget` and `unseen`
are looked at; exposure has {preview.TWINS} twins of each record and ranks no unseen ones (how far ranks lie apart is
known of text that was never seen: each is as probable as any other); and what goes from record to record stops after
{preview.SECONDS:g} seconds, which `cut_short` says. Its `estimate` is of the dry run itself. What only the method needs
(a retain set) is not asked for; a warning (`missing_data`) says that the job would need it.

Extraction strength must have been measured, and exposure or membership. What `evaluation.measure` asks for is measured
besides, and a `retrained_model` too; neither has a part in this answer. Intervals on few records are widened as those
of a verdict are (below), and an unknown one leaves it open. So **a request of one record, or of a few, ends as
`preview`** nearly always, whether the model knows the text or not: what one record shows is too little to answer "we
hold nothing". The job's warnings say so, and what would have to be known: {FEW} or more records of the same origin to
forget, and {FEW} or more unseen ones that measure. How often such an answer is wrong is in
[benchmarks.md](benchmarks.md), "Verdicts": of models that leak with an AUC of 0.75 in at most 5 % of dry runs.

## Verdict

A policy is a list of bounds on these figures. A bound is passed when the *whole* interval lies within it: an interval
that is too wide to tell is `underpowered`, never passed. The verdict is `passed`, `failed`, or `not_judged` with its
reason, and carries its scope: `facts` where questions about the text were asked (`probes`, or `cloze_fill`), else
`verbatim`: `cloze` is of the text, since it goes on from the text's own words. Whether there are records enough for a
bound to count (`judged_from`) goes by how many there are to forget, or of what must survive, not by how many were
looked at. On fewer, a bound counts only where it is `failed`: that its interval is too wide is expected there and
stands in no verdict's way; an interval that lies outside the limits as a whole is a failure at any size.

**Few records.** Under {FEW} records no interval is taken at its word, on either side of a comparison:

- of what must be forgotten, it is at least as wide as so many unseen records would have; without {FEW} unseen records
  to tell how far records lie apart, there is none;
- what stands on fewer than {FEW} *unseen* records is no yardstick: all that is held against it is `underpowered`. Only
  chance (0.5), and what another model says of the very same records, count as exactly known;
- of what must survive, there is none of a single record, nor of a few that do not differ at all.

A bound without an interval is `underpowered`. A model need not have general text or protected questions: the bounds
`general` and `protected` of the default policy have no part in the verdict where there are none, nor, unless they are
`failed`, where there are fewer than {KEPT_FROM} (with fewer, no job on the model could pass; a policy of your own may
have them count from another number on). The judgement's `warnings`, and the job's, then say what the verdict says
nothing of.

## Cost

`cost` in a job's metrics (`GET /v1/jobs/{{id}}/metrics`, the console, `unlearn submit --wait`, `unlearn measure`) says
what the attempt that ended the job took: seconds, tokens and model FLOPs per phase, tokens per second of the unlearning
and of the measuring, peak memory. Model FLOPs are reckoned, not read from the device: 2 N a token forward with N
weights that multiply, 2 * layers * width * T for attention over T tokens, three times that forward and backward
(weights that are not trained have no gradient of their own). Every pass counts, also those under the original and those
that measure; padding and what is computed twice do not, nor do tasks of lm-evaluation-harness. A retraining is taken to
cost 6 N D, D being the tokens that the model was trained on, which only its registration can say (`training_tokens`):
`retraining_share` is the job's model FLOPs over that, and null where nobody has said it.

## What no measurement proves

That a text is *erased*. The figures say how far this model can be told apart from one that never saw the text, by the
attacks that were run, at this sample size. Another attack, another prompt, more samples, weights that were quantised
or trained on further may show what these did not. Unseen text that is unlike the forget set makes both better and
worse figures than are true. And a model may have the same fact from other text, which nobody asked it to forget.

## Catalogue

`standard` (the default of every job) is what is marked so; `thorough` is these and all others but those that must be
asked for by name.

"""


def page() -> str:
    """The whole page."""
    found = [MEASUREMENTS[name] for name in sorted(MEASUREMENTS)]
    listed = "\n".join(f"- [`{one.name}`](#{one.name})" for one in found)
    return f"{_HEAD}{listed}\n" + "".join(_section(one) for one in found)


def _section(measurement: type[Measurement]) -> str:
    schema = measurement.model_json_schema().get("properties", {})
    defaults = {name: about.get("default", REQUIRED) for name, about in schema.items()}
    head = ["| parameter | default | allowed | meaning |", "|---|---|---|---|"]
    table = "\n".join([*head, *parameter_rows(schema, defaults)]) if schema else "It has no parameters."
    return f"""
### {measurement.name}

{measurement.summary}

{_about(measurement)}

{table}
"""


def _about(measurement: type[Measurement]) -> str:
    group = f"Group: `{measurement.group}`." if measurement.group else "Asked for by name."
    said = [group]
    if measurement.needs:
        said.append(f"Needs: {', '.join(f'`{name}`' for name in sorted(measurement.needs))}.")
    if measurement.moments != ALL_MOMENTS:
        said.append(f"Made only {', '.join(sorted(measurement.moments))}.")
    if measurement.source is not None:
        said.append(f"Source: [{measurement.source.title}]({measurement.source.url}).")
    return " ".join(said)
