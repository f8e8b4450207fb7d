/** All jobs, newest first, kept up to date while one looks at them. */

import { element } from "../element.js";
import { shortId, words } from "../format.js";
import { Refused, Unreachable } from "../service.js";
import { repeat } from "../pace.js";
import { command } from "../parts/command.js";
import { alarm } from "../parts/notice.js";
import { badge, status } from "../parts/badge.js";
import { progress } from "../parts/progress.js";
import { cells, scrollable } from "../parts/table.js";
import { due, time } from "../parts/time.js";

const PAGE = 20;
const BUSY_SECONDS = 3;
const QUIET_SECONDS = 10;
const KINDS = { unlearn: "unlearning", preview: "dry runs", measure: "measurements" };
const STATUSES = ["queued", "running", "paused", "succeeded", "failed", "cancelled"];
const OVER = new Set(["succeeded", "failed", "cancelled"]);
const COLUMNS = [
  ["Status"], ["Job"], ["Model"], ["Method"], ["Outcome"], ["Progress", "stretch"], ["Reference, due"], ["Created"],
];

export async function jobs({ service, main, signal, connection }) {
  document.title = "Jobs · Unlearning service";
  let shown = new Map(); // id -> {job, row}
  let hasMore = false;
  const query = new URLSearchParams({ limit: PAGE });
  const body = element("tbody");
  const empty = element("div", { hidden: true });
  const heads = COLUMNS.map(([heading, kind]) => element("th", { scope: "col", class: kind }, heading));
  const listed = scrollable("Jobs", element("table", {},
    element("caption", { class: "unseen" }, "Jobs, newest first"), element("thead", {}, element("tr", {}, heads)), body));
  const older = element("button", { type: "button", id: "older", click: more }, "Older jobs");
  const trouble = element("div");

  function take(list) {
    for (const job of list) {
      const known = shown.get(job.id);
      if (known && JSON.stringify(known.job) === JSON.stringify(job)) continue;
      const made = row(job);
      if (known?.row.contains(document.activeElement)) queueMicrotask(() => made.querySelector("a").focus());
      known?.row.replaceWith(made);
      shown.set(job.id, { job, row: made });
    }
    const newestFirst = [...shown.keys()].sort().reverse(); // ids are time-ordered
    newestFirst.forEach((id, place) => {
      const { row: wanted } = shown.get(id);
      if (body.children[place] !== wanted) body.insertBefore(wanted, body.children[place] ?? null);
    });
    while (body.children.length > newestFirst.length) body.lastElementChild.remove();
    listed.hidden = shown.size === 0;
    empty.hidden = shown.size > 0;
    older.hidden = !hasMore;
  }

  async function refresh() {
    const page = await service.get(`/v1/jobs?${query}`, signal);
    const meets = page.data.some((job) => shown.has(job.id));
    if (!meets || shown.size <= PAGE) {
      // the first look, or so many new jobs that what is shown would have a gap
      const kept = new Map(page.data.filter((job) => shown.has(job.id)).map((job) => [job.id, shown.get(job.id)]));
      shown = kept;
      hasMore = page.has_more;
    }
    take(page.data);
    const listedNow = new Set(page.data.map((job) => job.id));
    const open = [...shown.values()].filter(({ job }) => !OVER.has(job.status) && !listedNow.has(job.id));
    for (const { job } of open) take([await service.get(`/v1/jobs/${job.id}`, signal)]);
  }

  async function more() {
    older.disabled = true;
    try {
      const last = [...shown.keys()].sort()[0];
      const page = await service.get(`/v1/jobs?${query}&after=${encodeURIComponent(last)}`, signal);
      hasMore = page.has_more;
      take(page.data);
      trouble.replaceChildren();
    } catch (error) {
      if (!signal.aborted) trouble.replaceChildren(alarm(error));
    }
    older.disabled = false;
  }

  async function look() {
    try {
      await refresh();
      trouble.replaceChildren();
      connection(null);
    } catch (error) {
      if (signal.aborted) return 0;
      if (!(error instanceof Unreachable || (error instanceof Refused && error.status >= 429))) {
        trouble.replaceChildren(alarm(error));
        return QUIET_SECONDS;
      }
      connection("The service does not answer. Trying again.");
    }
    return [...shown.values()].some(({ job }) => !OVER.has(job.status)) ? BUSY_SECONDS : QUIET_SECONDS;
  }

  function choose() {
    query.delete("kind");
    query.delete("status");
    query.delete("reference");
    if (kind.value) query.set("kind", kind.value);
    if (chosen.value) query.set("status", chosen.value);
    if (reference.value.trim()) query.set("reference", reference.value.trim());
    empty.replaceChildren(...nothing(query));
    shown = new Map();
    body.replaceChildren();
    look();
  }
  const chosen = element("select", { id: "status", change: choose }, element("option", { value: "" }, "any"),
    STATUSES.map((one) => element("option", { value: one }, one)));
  const kind = element("select", { id: "kind", change: choose },
    element("option", { value: "" }, "unlearning and dry runs"),
    Object.entries(KINDS).map(([value, title]) => element("option", { value }, `${title} only`)));
  const reference = element("input", { id: "reference", type: "search", change: choose, placeholder: "exactly as given" });

  await refresh();
  empty.replaceChildren(...nothing(query));
  main.replaceChildren(
    element("div", { class: "heading" }, element("h1", {}, "Jobs"),
      element("div", { class: "filters" },
        element("label", { for: "kind" }, "Show"), kind, element("label", { for: "status" }, "Status"), chosen,
        element("label", { for: "reference" }, "Reference"), reference)),
    trouble, listed, empty, element("p", { class: "more" }, older));
  repeat(async () => look(), signal);
}

function row(job) {
  const link = element("a", { href: `#/jobs/${job.id}`, title: job.id }, shortId(job.id));
  const reference = job.reference || job.due
    ? element("span", { class: "stack" }, job.reference ?? "", job.due && due(job.due, OVER.has(job.status)))
    : "";
  const outcome = element("span", { class: "stack" }, job.outcome ? words(job.outcome) : "",
    job.verdict && element("span", {}, badge(job.verdict)));
  const method = { preview: "dry run", measure: "measurement" }[job.kind] ?? job.method.name;
  const shown = [status(job), link, job.model, method, outcome, progress(job), reference, time(job.created_at)];
  return element("tr", {}, cells(COLUMNS, shown));
}

function nothing(query) {
  if (["kind", "status", "reference"].some((one) => query.has(one))) return [element("p", { class: "faint" }, "No job fits.")];
  const body = JSON.stringify({ model: "MODEL", forget: { records: ["TEXT TO FORGET"] } });
  return [
    element("p", {}, "No job yet. The least request that makes one:"),
    command(`curl -f ${location.origin}/v1/jobs -H "Authorization: Bearer $UNLEARN_KEY" --json '${body}'`),
  ];
}
