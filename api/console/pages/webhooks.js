/** The messages to webhooks: whether each arrived, why not, and a button that sends it again. */

import { element } from "../element.js";
import { shortId, words } from "../format.js";
import { may } from "../key_scopes.js";
import { badge } from "../components/badge.js";
import { cells, table } from "../components/table.js";
import { time } from "../components/time.js";
import { listing } from "./listing.js";

const COLUMNS = [["Status"], ["Message"], ["Job"], ["Sent to", "wide"], ["Attempts"], ["Job ended"], [""]];
const STATUSES = ["pending", "delivered", "failed"];

export async function webhooks(page) {
  const { service, signal, query } = page;
  const key = await service.get("/v1/keys/self", signal);
  const status = STATUSES.includes(query.get("status")) ? query.get("status") : "";
  const job = query.get("job") ?? "";
  const filter = Object.fromEntries(Object.entries({ job, status }).filter(([, value]) => value));
  const choice = element("select", { id: "delivery-status", change: choose }, element("option", { value: "" }, "any"),
    STATUSES.map((name) => element("option", { value: name, selected: name === status }, name)));
  function choose() {
    location.hash = `#/webhooks?${new URLSearchParams({ ...filter, status: choice.value })}`;
  }
  return listing(page, {
    title: "Webhooks",
    path: "/v1/webhooks/deliveries",
    filter,
    none: status || job ? "No message matches this filter."
      : "No message was sent yet. A job with a webhook sends one when it ends: name a webhook in POST /v1/jobs.",
    controls: element("div", { class: "filters" },
      job && element("a", { href: "#/webhooks" }, `Only of ${shortId(job)}: show all`),
      element("span", {}, element("label", { for: "delivery-status" }, "Status"), choice)),
    draw: (items) => table("Messages to webhooks", COLUMNS, items.map((item) => row(service, item, may(key, "jobs:write"), signal)),
      { stacks: true }),
  });
}

function row(service, delivery, mayAct, signal) {
  const values = [
    badge(delivery.status),
    delivery.type,
    element("a", { href: `#/jobs/${delivery.job}`, title: delivery.job }, shortId(delivery.job)),
    element("code", { class: "digest" }, delivery.url),
    attempts(delivery),
    time(delivery.created_at),
    mayAct && again(service, delivery, signal),
  ];
  return element("tr", { "data-delivery": delivery.id }, cells(COLUMNS, values));
}

/** How often it was tried, why the last attempt failed, and when the next one comes. */
function attempts({ attempts: made, next_attempt_at: next, delivered_at: delivered }) {
  const last = made.at(-1);
  const why = last?.error && (last.http_status ? `answered ${last.http_status}` : words(last.error));
  return element("span", { class: "stack" },
    made.length === 1 ? "1 attempt" : `${made.length} attempts`,
    why && element("span", { class: "error" }, why),
    delivered && element("span", { class: "faint" }, "delivered ", time(delivered)),
    next && element("span", { class: "faint" }, "next ", time(next)));
}

/** The button that has the message sent again. Its row then shows the delivery as the service returns it. */
function again(service, delivery, signal) {
  const error = element("span", { class: "error", role: "alert" });
  async function send({ target }) {
    target.disabled = true;
    error.textContent = "";
    try {
      const sent = await service.post(`/v1/webhooks/deliveries/${delivery.id}/redeliver`, signal);
      const drawn = row(service, sent, true, signal);
      target.closest("tr").replaceWith(drawn);
      drawn.querySelector("button").focus();
    } catch (refusal) {
      if (!signal.aborted) error.textContent = refusal.message;
      target.disabled = false;
    }
  }
  return element("span", { class: "stack" }, element("button", { type: "button", click: send }, "Deliver again"), error);
}
