/** The page of a job: live while the job runs, with all its figures when it is over.
 *
 * The event stream only tells that something changed (and, between events, the step of the training). The page always reads
 * the values that it shows from the routes, so that a lost event cannot leave a wrong figure on the screen.
 */

import { element } from "../element.js";
import { bytes, seconds, shortId, words } from "../format.js";
import { SETTLED, TERMINAL } from "../job_status.js";
import { Refused } from "../service.js";
import { coalesced } from "../polling.js";
import { may } from "../key_scopes.js";
import { follow } from "../stream.js";
import { status } from "../components/badge.js";
import { cancelButton } from "../components/cancel_button.js";
import { jobActions } from "../components/job_actions.js";
import { checkpoint } from "../components/checkpoint.js";
import { cost as costLine } from "../components/cost.js";
import { curves } from "../components/curves.js";
import { jobError } from "../components/job_error.js";
import { extendButton, isExtendable } from "../components/extend_button.js";
import { figures } from "../components/figures.js";
import { history } from "../components/history.js";
import { dataUsed, settings } from "../components/job_inputs.js";
import { errorNotice, notice } from "../components/notice.js";
import { phases } from "../components/progress.js";
import { report } from "../components/report.js";
import { releaseGate } from "../components/release_gate.js";
import { facts } from "../components/table.js";
import { due, time } from "../components/time.js";
import { verdict } from "../components/verdict.js";

const KINDS = { preview: "dry run: nothing is changed", measure: "measurement: nothing is changed" };
const OUTCOMES = { preview: "there may be something to forget" };
const FINDINGS = { preview: "What the model knows of the text", nothing_to_forget: "Nothing to forget" };
const MAX_EVENTS = 100;
const JOB_SECONDS = 0.5;
const FIGURES_SECONDS = 3;

export async function job({ service, main, signal, id, connection }) {
  const path = `/v1/jobs/${encodeURIComponent(id)}`;
  let shown = await service.get(path, signal);
  const key = await service.get("/v1/keys/self", signal);
  const mayAct = may(key, "jobs:write");

  const part = (name) => element("div", { id: name });
  const state = element("span", { role: "status" });
  const [actions, about, live, remarks] = ["stop", "about", "live", "said"].map(part);
  const [judged, gate, measured, charts] = ["verdict", "gate", "figures", "charts"].map(part);
  const [costs, files, reported, past] = ["cost", "made", "report", "past"].map(part);
  let delivered = null;

  function show() {
    document.title = `${shortId(shown.id)} · ${shown.status} · Unlearning service`;
    redraw(state, [shown.status, shown.requested, shown.released], () => [status(shown)]);
    redraw(about, { ...shown, progress: null, phase: null }, () => [summary(shown)]);
    redraw(live, [shown.status, shown.phase, shown.progress, shown.waiting_for], () => inProgress(shown));
    redraw(remarks, [shown.error, shown.warnings], () => messages(shown));
    redraw(reported, shown.links.report, () =>
      shown.links.report ? [element("h2", {}, "Report"), report(service, shown, signal)] : []);
    const stoppable = !SETTLED.has(shown.status) && shown.requested !== "cancel";
    redraw(actions, [stoppable, shown.status, shown.requested, shown.due], () => !mayAct ? [] : [
      jobActions(service, shown, actionDone, signal),
      ...(isExtendable(shown) ? [extendButton(service, shown, actionDone, signal)] : []),
      ...(stoppable ? [cancelButton(service, shown, refresh, signal)] : []),
    ]);
  }

  async function readJob() {
    shown = await service.get(path, signal);
    show();
    const events = await service.get(`${path}/events?limit=${MAX_EVENTS}`, signal);
    redraw(past, events.data, () => [history(events.data)]);
    if (shown.checkpoint && !delivered?.released) {
      delivered = await service.get(`/v1/checkpoints/${shown.checkpoint}`, signal);
      redraw(gate, delivered.released, () => releaseGate(service, delivered, shown, key, refresh, signal));
      redraw(files, delivered, () => [element("h2", {}, "Checkpoint"), checkpoint(service, delivered, signal)]);
    }
  }

  async function readFigures() {
    const { curves: pointsOf, before, after, retrained, judgement, cost } = await service.get(`${path}/metrics`, signal);
    redraw(judged, judgement, () => verdict(judgement));
    redraw(measured, [before, after, retrained], () => figures({ before, after, retrained }));
    const any = Object.values(pointsOf).some((points) => points.length > 0);
    redraw(costs, cost, () => costLine(cost));
    redraw(charts, pointsOf, () => (any ? [element("h2", {}, "Training"), curves(pointsOf)] : []));
  }

  /** Shows the job as an action left it. If the job was over and is no longer over, listens to its events again. */
  function actionDone(changed) {
    const again = TERMINAL.has(shown.status) && !TERMINAL.has(changed.status);
    shown = changed;
    show();
    refresh();
    if (again) listen();
  }

  const reportingErrors = (task) => async () => {
    try {
      await task();
      connection(null);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused) remarks.replaceChildren(errorNotice(error));
      else connection("The service does not answer. Trying again.");
    }
  };
  const refresh = coalesced(reportingErrors(readJob), JOB_SECONDS, signal);
  const refreshFigures = coalesced(reportingErrors(readFigures), FIGURES_SECONDS, signal);

  show();
  main.replaceChildren(
    element("p", { class: "trail" }, element("a", { href: "#/jobs" }, "Jobs")),
    element("div", { class: "heading" },
      element("h1", {}, element("code", { title: shown.id }, shortId(shown.id)), state), actions),
    about, live, remarks, judged, gate, measured, charts, costs, files, reported,
    element("h2", {}, "Data used"), dataUsed(shown), settings(shown),
    element("details", { open: !TERMINAL.has(shown.status) }, element("summary", {}, element("h2", {}, "History")), past));
  refresh();
  refreshFigures();
  if (!TERMINAL.has(shown.status)) listen();

  async function listen() {
    try {
      for await (const { type, data, id: number } of follow(service, shown.id, signal)) {
        if (type === "progress" && number === undefined) {
          shown = { ...shown, progress: data };
          show();
        } else {
          refresh();
        }
        refreshFigures();
      }
    } catch (error) {
      if (!signal.aborted) remarks.replaceChildren(errorNotice(error));
    }
  }
}

const drawn = new WeakMap(); // element -> the value that it shows, as JSON

/** Draws into `part` only if `value` has changed since the last time, so that what a person has unfolded stays unfolded. */
function redraw(part, value, make) {
  const json = JSON.stringify(value);
  if (drawn.get(part) === json) return;
  drawn.set(part, json);
  part.replaceChildren(...make());
}

function summary(job) {
  const took = job.started_at && job.finished_at ? (new Date(job.finished_at) - new Date(job.started_at)) / 1000 : null;
  return facts([
    ["Kind", KINDS[job.kind]],
    ["Model", `${job.model} (${job.from.startsWith("ckpt-") ? shortId(job.from) : `from its ${job.from}`})`],
    ["Retrained model", job.retrained_model],
    ["Method", job.kind === "unlearn" ? job.method.name : null],
    ["Outcome", job.outcome && (OUTCOMES[job.outcome] ?? words(job.outcome))],
    ["Measured", job.evaluation.measure.map((choice) => choice.name ?? choice).join(", ")],
    ["Policy", job.kind === "unlearn" ? job.evaluation.policy : null],
    ["Ticket", job.external_reference],
    ["Due", job.due && due(job.due, SETTLED.has(job.status))],
    ...job.extensions.map(({ previous_due: before, due: after, reason }) => ["Extended", `from ${before} to ${after}: ${reason}`]),
    ["Webhook", job.webhook && element("span", { class: "stack" }, job.webhook.url,
      element("a", { href: `#/webhooks?job=${job.id}` }, "its messages"))],
    ["Received", job.due && job.received_at !== job.created_at ? time(job.received_at) : null],
    ["Created", time(job.created_at)],
    ["Started", job.started_at && time(job.started_at)],
    ["Finished", job.finished_at && time(job.finished_at)],
    ["Duration", took === null ? null : seconds(took)],
    ["Expected", job.kind === "preview" && job.estimate ? expected(job.estimate) : null],
    ["Attempts", job.attempts > 1 ? String(job.attempts) : null],
    ...Object.entries(job.metadata),
  ]);
}

/** The memory and time that the unlearning itself would take, as the service estimates. */
function expected({ peak_device_bytes: device, peak_host_bytes: host, gpus, seconds: time }) {
  const memory = gpus > 0 ? `${bytes(device)} on each of ${gpus} GPUs` : `${bytes(host)} of memory`;
  return time === null ? `${memory} at most` : `${memory} at most, about ${seconds(time)}`;
}

function inProgress(job) {
  if (job.status === "running") return [phases(job)];
  if (job.status !== "queued" || !job.waiting_for) return [];
  return [notice("calm", "In the queue", element("p", {}, `Waiting for ${job.waiting_for}.`))];
}

function messages(job) {
  const boxes = job.error ? [jobError(job)] : [];
  const isFinding = ({ code }) => Object.hasOwn(FINDINGS, code);
  const warnings = job.warnings.filter((warning) => !isFinding(warning));
  const findings = job.warnings.filter(isFinding);
  boxes.push(...findings.map(({ code, message }) => notice("calm", FINDINGS[code], element("p", {}, message))));
  if (warnings.length > 0) {
    const heading = warnings.length === 1 ? "A warning" : `${warnings.length} warnings`;
    const items = warnings.map(({ code, message }) =>
      element("li", {}, message, " ", element("code", { class: "faint" }, code)));
    boxes.push(notice("warn", heading, element("ul", {}, items)));
  }
  return boxes;
}
