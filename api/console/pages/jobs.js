/** All jobs, newest first, kept up to date while one looks at them. The filter lives in the address. */

import { element } from "../element.js";
import { shortId, words } from "../format.js";
import { Refused, Unreachable } from "../service.js";
import { repeat } from "../pace.js";
import { command } from "../components/command.js";
import { alarm } from "../components/notice.js";
import { badge, status } from "../components/badge.js";
import { progress } from "../components/progress.js";
import { cells, stacked } from "../components/table.js";
import { due, time } from "../components/time.js";

const PAGE = 20;
const LARGEST_PAGE = 100;
const NEW_JOBS = 5; // that came since the last look, as a rule at most
const BUSY_SECONDS = 3;
const QUIET_SECONDS = 10;
const KINDS = { unlearn: "unlearning", preview: "dry runs", measure: "measurements" };
const STATUSES = ["queued", "running", "paused", "succeeded", "failed", "cancelled"];
const FILTERS = ["kind", "status", "external_reference"];
const OVER = new Set(["succeeded", "failed", "cancelled"]);
const COLUMNS = [
  ["Status"], ["Job"], ["Model"], ["Method"], ["Outcome"], ["Progress", "stretch"], ["Reference, due"], ["Created"],
];

/** The jobs of one filter, as far as they were read. `end` stops everything that was asked for them. */
class View {
  #ended = new AbortController();

  constructor(filter, page) {
    this.filter = filter;
    this.signal = AbortSignal.any([page, this.#ended.signal]);
    this.rows = new Map(); // id -> {job, row}, newest first
    this.hasMore = false;
  }

  end() {
    this.#ended.abort();
  }

  get open() {
    return [...this.rows.values()].some(({ job }) => !OVER.has(job.status));
  }
}

export async function jobs({ service, main, signal, connection, query }) {
  document.title = "Jobs · Unlearning service";
  const body = element("tbody");
  const empty = element("div", { hidden: true });
  const heads = COLUMNS.map(([heading, kind]) => element("th", { scope: "col", class: kind }, heading));
  const listed = stacked("Jobs", element("table", {},
    element("caption", { class: "unseen" }, "Jobs, newest first"), element("thead", {}, element("tr", {}, heads)), body));
  const older = element("button", { type: "button", id: "older", click: more }, "Older jobs");
  const trouble = element("div");
  let view = new View(chosenFrom(query), signal);

  /** What the service lists for the view's filter, `limit` jobs after `last`. */
  function ask(of, limit, last) {
    const asked = new URLSearchParams({ ...of.filter, limit, ...(last ? { after: last } : {}) });
    return service.get(`/v1/jobs?${asked}`, of.signal);
  }

  /** Replaces the view's rows by these jobs; a row whose job is as it was stays, and what has the focus keeps it. */
  function draw(of, list, hasMore) {
    const rows = new Map();
    for (const job of list) {
      const known = of.rows.get(job.id);
      if (known && JSON.stringify(known.job) === JSON.stringify(job)) {
        rows.set(job.id, known);
        continue;
      }
      const made = row(job);
      if (known?.row.contains(document.activeElement)) queueMicrotask(() => made.querySelector("a").focus());
      known?.row.replaceWith(made);
      rows.set(job.id, { job, row: made });
    }
    of.rows = rows;
    of.hasMore = hasMore;
    let place = 0;
    for (const { row: wanted } of rows.values()) {
      if (body.children[place] !== wanted) body.insertBefore(wanted, body.children[place] ?? null);
      place += 1;
    }
    while (body.children.length > rows.size) body.lastElementChild.remove();
    listed.hidden = rows.size === 0;
    empty.hidden = rows.size > 0;
    older.hidden = !hasMore;
  }

  /** Reads the jobs that are shown and newer ones again: one request for each hundred. */
  async function refresh(of) {
    const oldest = [...of.rows.keys()].at(-1) ?? "";
    const limit = Math.min(LARGEST_PAGE, Math.max(PAGE, of.rows.size + NEW_JOBS));
    let list = [];
    let page;
    do {
      page = await ask(of, limit, list.at(-1)?.id);
      list = [...list, ...page.data];
    } while (page.has_more && list.at(-1).id > oldest && oldest !== "");
    if (of.signal.aborted || ([...of.rows.keys()].at(-1) ?? "") !== oldest) return; // older ones were added meanwhile
    const kept = list.filter((job, place) => job.id >= oldest || place < PAGE);
    draw(of, kept, page.has_more || kept.length < list.length);
  }

  async function more() {
    const of = view;
    older.disabled = true;
    try {
      const page = await ask(of, PAGE, [...of.rows.keys()].at(-1));
      if (!of.signal.aborted) {
        draw(of, [...[...of.rows.values()].map(({ job }) => job), ...page.data], page.has_more);
        trouble.replaceChildren();
      }
    } catch (error) {
      if (!of.signal.aborted) trouble.replaceChildren(alarm(error));
    }
    older.disabled = false;
  }

  async function look() {
    const of = view;
    try {
      await refresh(of);
      trouble.replaceChildren();
      connection(null);
    } catch (error) {
      if (of.signal.aborted) return signal.aborted ? 0 : BUSY_SECONDS;
      if (!(error instanceof Unreachable || (error instanceof Refused && error.status >= 429))) {
        trouble.replaceChildren(alarm(error));
        return QUIET_SECONDS;
      }
      connection("The service does not answer. Trying again.");
    }
    return of.open ? BUSY_SECONDS : QUIET_SECONDS;
  }

  function choose() {
    view.end(); // an answer that is on its way belongs to the filter before
    view = new View(chosenFrom(new URLSearchParams([...FILTERS.map((name) => [name, inputs[name].value.trim()])])), signal);
    const written = new URLSearchParams(view.filter).toString();
    history.replaceState(null, "", `#/jobs${written ? `?${written}` : ""}`);
    empty.replaceChildren(...nothing(view.filter));
    body.replaceChildren();
    look();
  }
  const inputs = {
    kind: element("select", { id: "kind", change: choose },
      element("option", { value: "" }, "unlearning and dry runs"),
      Object.entries(KINDS).map(([value, title]) => element("option", { value }, `${title} only`))),
    status: element("select", { id: "status", change: choose }, element("option", { value: "" }, "any"),
      STATUSES.map((name) => element("option", { value: name }, name))),
    external_reference: element("input", { id: "external_reference", type: "search", change: choose, placeholder: "exactly as given" }),
  };
  for (const name of FILTERS) inputs[name].value = view.filter[name] ?? "";

  await refresh(view);
  empty.replaceChildren(...nothing(view.filter));
  main.replaceChildren(
    element("div", { class: "heading" }, element("h1", {}, "Jobs"),
      element("div", { class: "filters" },
        element("label", { for: "kind" }, "Show"), inputs.kind,
        element("label", { for: "status" }, "Status"), inputs.status,
        element("label", { for: "external_reference" }, "Reference"), inputs.external_reference)),
    trouble, listed, empty, element("p", { class: "more" }, older));
  repeat(look, signal);
}

/** The filter that an address names; what the service does not know is left out. */
function chosenFrom(query) {
  const known = { kind: (value) => value in KINDS, status: (value) => STATUSES.includes(value),
    external_reference: Boolean };
  return Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""]).filter(([name, value]) => known[name](value)));
}

function row(job) {
  const link = element("a", { href: `#/jobs/${job.id}`, title: job.id }, shortId(job.id));
  const reference = job.external_reference || job.due
    ? element("span", { class: "stack" }, job.external_reference ?? "", job.due && due(job.due, OVER.has(job.status)))
    : "";
  const outcome = element("span", { class: "stack" }, job.outcome ? words(job.outcome) : "",
    job.verdict && element("span", {}, badge(job.verdict)));
  const method = { preview: "dry run", measure: "measurement" }[job.kind] ?? job.method.name;
  const shown = [status(job), link, job.model, method, outcome, progress(job), reference, time(job.created_at)];
  return element("tr", {}, cells(COLUMNS, shown));
}

function nothing(filter) {
  if (Object.keys(filter).length > 0) return [element("p", { class: "faint" }, "No job fits.")];
  const body = JSON.stringify({ model: "MODEL", forget: { records: ["TEXT TO FORGET"] } });
  return [
    element("p", {}, "No job yet. The least request that makes one:"),
    command(`curl -f ${location.origin}/v1/jobs -H "Authorization: Bearer $UNLEARN_KEY" --json '${body}'`),
  ];
}
