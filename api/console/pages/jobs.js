/** The list of jobs, up to date while the tab is visible: newest first, or soonest due first where the filter is by deadline.
 * The filter is part of the address. */

import { element } from "../element.js";
import { shortId, words } from "../format.js";
import { SETTLED, STATUSES, TERMINAL } from "../job_status.js";
import { Refused, Unreachable } from "../service.js";
import { repeat } from "../polling.js";
import { command } from "../components/command.js";
import { errorNotice } from "../components/notice.js";
import { badge, status } from "../components/badge.js";
import { progress } from "../components/progress.js";
import { cells, stacked } from "../components/table.js";
import { due, time } from "../components/time.js";

const PAGE = 20;
const LARGEST_PAGE = 100;
const NEW_JOBS = 5; // rarely more are new since the last request
const BUSY_SECONDS = 3;
const QUIET_SECONDS = 10;
const KINDS = { unlearn: "unlearning", preview: "dry runs", measure: "measurements" };
const FILTERS = ["kind", "status", "external_reference", "overdue", "due_before"];
const LABELS = {
  kind: "Show", status: "Status", external_reference: "Ticket", overdue: "Deadline", due_before: "Due before",
};
const DAY = /^\d{4}-\d{2}-\d{2}$/;
const COLUMNS = [
  ["Status"], ["Job"], ["Model"], ["Method"], ["Outcome"], ["Progress", "stretch"], ["Ticket, due"], ["Created"],
];

/** The jobs of a filter that are read so far. `end` stops all requests for them. */
class View {
  #ended = new AbortController();

  constructor(filter, page) {
    this.filter = filter;
    this.signal = AbortSignal.any([page, this.#ended.signal]);
    this.rows = new Map(); // id -> {job, row}, in the order of the list
    this.hasMore = false;
  }

  end() {
    this.#ended.abort();
  }

  /** Whether the service lists the soonest due first, so that a new job may come anywhere. */
  get byDue() {
    return "overdue" in this.filter || "due_before" in this.filter;
  }

  get open() {
    return [...this.rows.values()].some(({ job }) => !TERMINAL.has(job.status));
  }
}

export async function jobs({ service, main, signal, connection, query }) {
  document.title = "Jobs · Unlearning service";
  const body = element("tbody");
  const empty = element("div", { hidden: true });
  const heads = COLUMNS.map(([heading, kind]) => element("th", { scope: "col", class: kind }, heading));
  const caption = element("caption", { class: "unseen" });
  const listed = stacked("Jobs", element("table", {}, caption, element("thead", {}, element("tr", {}, heads)), body));
  const older = element("button", { type: "button", id: "older", click: showOlder });
  const problem = element("div");
  let currentView = new View(filterFrom(query), signal);

  /** Requests `limit` jobs after `last` that match the view's filter. */
  function request(view, limit, last) {
    const parameters = new URLSearchParams({ ...view.filter, limit, ...(last ? { after: last } : {}) });
    return service.get(`/v1/jobs?${parameters}`, view.signal);
  }

  /** Replaces the view's rows by these jobs. The row of an unchanged job stays; a row that has the focus keeps it. */
  function draw(view, list, hasMore) {
    const rows = new Map();
    for (const job of list) {
      const before = view.rows.get(job.id);
      if (before && JSON.stringify(before.job) === JSON.stringify(job)) {
        rows.set(job.id, before);
        continue;
      }
      const drawn = row(job);
      if (before?.row.contains(document.activeElement)) queueMicrotask(() => drawn.querySelector("a").focus());
      before?.row.replaceWith(drawn);
      rows.set(job.id, { job, row: drawn });
    }
    view.rows = rows;
    view.hasMore = hasMore;
    let index = 0;
    for (const { row: drawn } of rows.values()) {
      if (body.children[index] !== drawn) body.insertBefore(drawn, body.children[index] ?? null);
      index += 1;
    }
    while (body.children.length > rows.size) body.lastElementChild.remove();
    listed.hidden = rows.size === 0;
    empty.hidden = rows.size > 0;
    older.hidden = !hasMore;
  }

  /** Reads the jobs that are shown, and newer jobs, again: one request for each hundred. */
  async function refresh(view) {
    const oldest = [...view.rows.keys()].at(-1) ?? "";
    const count = Math.max(PAGE, view.rows.size);
    const isComplete = (read) => (view.byDue ? read.length >= count : oldest === "" || read.at(-1).id <= oldest);
    const limit = Math.min(LARGEST_PAGE, Math.max(PAGE, view.rows.size + NEW_JOBS));
    let list = [];
    let page;
    do {
      page = await request(view, limit, list.at(-1)?.id);
      list = [...list, ...page.data];
    } while (page.has_more && !isComplete(list));
    if (view.signal.aborted || ([...view.rows.keys()].at(-1) ?? "") !== oldest) return; // older jobs were added in the meantime
    const kept = view.byDue ? list.slice(0, count) : list.filter((job, index) => job.id >= oldest || index < PAGE);
    draw(view, kept, page.has_more || kept.length < list.length);
  }

  async function showOlder() {
    const view = currentView;
    older.disabled = true;
    try {
      const page = await request(view, PAGE, [...view.rows.keys()].at(-1));
      if (!view.signal.aborted) {
        draw(view, [...[...view.rows.values()].map(({ job }) => job), ...page.data], page.has_more);
        problem.replaceChildren();
      }
    } catch (error) {
      if (!view.signal.aborted) problem.replaceChildren(errorNotice(error));
    }
    older.disabled = false;
  }

  async function poll() {
    const view = currentView;
    try {
      await refresh(view);
      problem.replaceChildren();
      connection(null);
    } catch (error) {
      if (view.signal.aborted) return signal.aborted ? 0 : BUSY_SECONDS;
      if (!(error instanceof Unreachable || (error instanceof Refused && error.status >= 429))) {
        problem.replaceChildren(errorNotice(error));
        return QUIET_SECONDS;
      }
      connection("The service does not answer. Trying again.");
    }
    return view.open ? BUSY_SECONDS : QUIET_SECONDS;
  }

  function applyFilter() {
    currentView.end(); // an answer that is on its way belongs to the previous filter
    const query = new URLSearchParams(FILTERS.map((name) => [name, inputs[name].value.trim()]));
    currentView = new View(filterFrom(query), signal);
    const search = new URLSearchParams(currentView.filter).toString();
    history.replaceState(null, "", `#/jobs${search ? `?${search}` : ""}`);
    body.replaceChildren();
    describe(currentView);
    poll();
  }

  /** Writes what depends on the filter alone. */
  function describe(view) {
    caption.textContent = view.byDue ? "Jobs, soonest due first" : "Jobs, newest first";
    older.textContent = view.byDue ? "Jobs due later" : "Older jobs";
    empty.replaceChildren(...emptyList(view.filter));
  }

  const inputs = {
    kind: element("select", { id: "kind", change: applyFilter },
      element("option", { value: "" }, "unlearning and dry runs"),
      Object.entries(KINDS).map(([value, title]) => element("option", { value }, `${title} only`))),
    status: element("select", { id: "status", change: applyFilter }, element("option", { value: "" }, "any"),
      STATUSES.map((name) => element("option", { value: name }, name))),
    external_reference: element("input",
      { id: "external_reference", type: "search", change: applyFilter, placeholder: "exactly as given" }),
    overdue: element("select", { id: "overdue", change: applyFilter }, element("option", { value: "" }, "any"),
      element("option", { value: "true" }, "overdue")),
    due_before: element("input", { id: "due_before", type: "date", change: applyFilter }),
  };
  for (const name of FILTERS) inputs[name].value = currentView.filter[name] ?? "";

  await refresh(currentView);
  describe(currentView);
  main.replaceChildren(
    element("div", { class: "heading" }, element("h1", {}, "Jobs"),
      element("div", { class: "filters" },
        FILTERS.map((name) => element("span", {}, element("label", { for: name }, LABELS[name]), inputs[name])))),
    problem, listed, empty, element("p", { class: "more" }, older));
  repeat(poll, signal);
}

/** The filter in an address, without values that the service does not know. */
function filterFrom(query) {
  const isKnown = { kind: (value) => value in KINDS, status: (value) => STATUSES.includes(value),
    external_reference: Boolean, overdue: (value) => value === "true", due_before: (value) => DAY.test(value) };
  return Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""]).filter(([name, value]) => isKnown[name](value)));
}

function row(job) {
  const link = element("a", { href: `#/jobs/${job.id}`, title: job.id }, shortId(job.id));
  const ticket = job.external_reference || job.due
    ? element("span", { class: "stack" }, job.external_reference ?? "", job.due && due(job.due, SETTLED.has(job.status)))
    : "";
  const outcome = element("span", { class: "stack" }, job.outcome ? words(job.outcome) : "",
    job.verdict && element("span", {}, badge(job.verdict)));
  const method = { preview: "dry run", measure: "measurement" }[job.kind] ?? job.method.name;
  const values = [status(job), link, job.model, method, outcome, progress(job), ticket, time(job.created_at)];
  return element("tr", {}, cells(COLUMNS, values));
}

function emptyList(filter) {
  if (Object.keys(filter).length > 0) return [element("p", { class: "faint" }, "No job matches this filter.")];
  const body = JSON.stringify({ model: "MODEL", forget: { records: ["TEXT TO FORGET"] } });
  return [
    element("p", {}, "There is no job yet. This is the smallest request that creates a job:"),
    command(`curl -f ${location.origin}/v1/jobs -H "Authorization: Bearer $UNLEARN_KEY" --json '${body}'`),
  ];
}
