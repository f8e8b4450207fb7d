/** One job: live while it runs, and all its figures when it is over.
 *
 * The event stream only says that something changed (and, between events, the training's step); what is shown is always
 * read from the routes, so that a lost event can never leave a wrong figure on the screen.
 */

import { element } from "../element.js";
import { seconds, shortId, words } from "../format.js";
import { Refused } from "../service.js";
import { coalesced } from "../pace.js";
import { follow } from "../stream.js";
import { attacks } from "../parts/attacks.js";
import { badge, status } from "../parts/badge.js";
import { cancelButton } from "../parts/cancel.js";
import { checkpoint } from "../parts/checkpoint.js";
import { comparison } from "../parts/comparison.js";
import { curves } from "../parts/curves.js";
import { dataUsed, settings } from "../parts/inputs.js";
import { fault } from "../parts/fault.js";
import { history } from "../parts/history.js";
import { alarm, notice } from "../parts/notice.js";
import { phases } from "../parts/progress.js";
import { facts } from "../parts/table.js";
import { tiles } from "../parts/tiles.js";
import { due, time } from "../parts/time.js";

const OVER = new Set(["succeeded", "failed", "cancelled"]);
const EVENTS = 100;
const JOB_SECONDS = 0.5;
const FIGURES_SECONDS = 3;

export async function job({ service, main, signal, id, connection }) {
  const path = `/v1/jobs/${encodeURIComponent(id)}`;
  const places = Object.fromEntries(["top", "live", "said", "figures", "charts", "data", "made", "past"].map((name) => [name, element("div", { id: name })]));
  let shown = await service.get(path, signal);

  function show() {
    document.title = `${shortId(shown.id)} · ${shown.status} · Unlearning service`;
    keepingFocus(places.top, () => top(shown, service, refresh, signal));
    places.live.replaceChildren(...(shown.status === "running" ? [phases(shown)] : waiting(shown)));
    places.said.replaceChildren(...said(shown));
  }

  async function readJob() {
    shown = await service.get(path, signal);
    show();
    const events = await service.get(`${path}/events?limit=${EVENTS}`, signal);
    places.past.replaceChildren(element("details", { open: !OVER.has(shown.status) }, element("summary", {}, element("h2", {}, "History")), history(events.data)));
    if (shown.checkpoint && !places.made.hasChildNodes()) {
      const made = await service.get(`/v1/checkpoints/${shown.checkpoint}`, signal);
      places.made.replaceChildren(element("h2", {}, "Checkpoint"), checkpoint(service, made, signal));
    }
  }

  async function readFigures() {
    const { curves: named, before, after } = await service.get(`${path}/metrics`, signal);
    places.figures.replaceChildren(...figures(before, after));
    const drawn = Object.values(named).some((points) => points.length > 0);
    places.charts.replaceChildren(...(drawn ? [element("h2", {}, "Training"), curves(named)] : []));
  }

  const guarded = (task) => async () => {
    try {
      await task();
      connection(null);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused) places.said.replaceChildren(alarm(error));
      else connection("The service does not answer. Trying again.");
    }
  };
  const refresh = coalesced(guarded(readJob), JOB_SECONDS, signal);
  const refreshFigures = coalesced(guarded(readFigures), FIGURES_SECONDS, signal);

  show();
  places.data.replaceChildren(element("h2", {}, "Data used"), dataUsed(shown), settings(shown));
  main.replaceChildren(...["top", "live", "said", "figures", "charts", "made", "data", "past"].map((name) => places[name]));
  refresh();
  refreshFigures();
  if (OVER.has(shown.status)) return;
  listen();

  async function listen() {
    try {
      for await (const { type, data, id: number } of follow(service, shown.id, signal)) {
        if (type === "progress" && number === undefined) {
          const { step, steps } = data;
          shown = { ...shown, progress: { ...shown.progress, ...data, fraction: steps ? step / steps : 0 } };
          show();
        } else {
          refresh();
        }
        refreshFigures();
      }
    } catch (error) {
      if (!signal.aborted) places.said.replaceChildren(alarm(error));
    }
  }
}

/** Replaces what is in `place` unless a person is at work in it: an open dialog must not vanish under the hand. */
function keepingFocus(place, make) {
  if (place.querySelector("dialog[open]")) return;
  const focused = document.activeElement?.id;
  const within = place.contains(document.activeElement);
  place.replaceChildren(make());
  if (within && focused) document.getElementById(focused)?.focus();
}

function top(job, service, refresh, signal) {
  const over = OVER.has(job.status);
  const stoppable = !over && job.requested !== "cancel";
  const took = job.started_at && job.finished_at ? (new Date(job.finished_at) - new Date(job.started_at)) / 1000 : null;
  return element("div", {},
    element("p", { class: "trail" }, element("a", { href: "#/jobs" }, "Jobs")),
    element("div", { class: "heading" },
      element("h1", {}, element("code", { title: job.id }, shortId(job.id)), element("span", { role: "status" }, status(job))),
      stoppable && cancelButton(service, job.id, refresh, signal)),
    facts([
      ["Model", `${job.model} (from its ${job.from})`],
      ["Method", job.method.name],
      ["Outcome", job.outcome && words(job.outcome)],
      ["Verdict", job.verdict && badge(job.verdict)],
      ["Reference", job.reference],
      ["Due", job.due && due(job.due, over)],
      ["Created", time(job.created_at)],
      ["Started", job.started_at && time(job.started_at)],
      ["Finished", job.finished_at && time(job.finished_at)],
      ["Took", took === null ? null : seconds(took)],
      ["Attempts", job.attempts > 1 ? String(job.attempts) : null],
      ...Object.entries(job.metadata),
    ]));
}

function waiting(job) {
  if (job.status !== "queued" || !job.waiting_for) return [];
  return [notice("calm", "In the queue", element("p", {}, `Waiting for ${job.waiting_for}.`))];
}

function said(job) {
  const boxes = job.error ? [fault(job)] : [];
  if (job.warnings.length > 0) {
    boxes.push(notice("warn", job.warnings.length === 1 ? "A warning" : `${job.warnings.length} warnings`,
      element("ul", {}, job.warnings.map((one) => element("li", {}, one.message, " ", element("code", { class: "faint" }, one.code))))));
  }
  return boxes;
}

function figures(before, after) {
  if (!before && !after) return [];
  const attacked = Object.keys({ ...before?.attacks, ...after?.attacks }).length > 0;
  const warnings = [...new Set([...(before?.warnings ?? []), ...(after?.warnings ?? [])])];
  return [
    element("h2", {}, "What the model shows of each set"),
    tiles(before, after),
    comparison(before, after),
    element("p", { class: "faint prose" },
      "A model that had never seen the forget set would treat it as this one treated unseen text before: compare forget after with unseen before. ",
      "These figures describe behaviour on this text; they do not prove that nothing is left."),
    warnings.length > 0 && notice("warn", "About these figures", element("ul", {}, warnings.map((one) => element("li", {}, one)))),
    attacked && element("h2", {}, "Can forget and unseen text be told apart?"),
    attacked && element("p", { class: "faint prose" },
      "Membership attacks. At 0.5 an attacker guesses. Above it the model still knows the text; below it the text stands out as unusually unknown, which gives it away too."),
    attacked && attacks(before, after),
  ].filter(Boolean);
}
