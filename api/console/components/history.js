/** A job's events as sentences, newest first. */

import { element } from "../element.js";
import { words } from "../format.js";
import { second } from "./time.js";

const SENTENCES = {
  created: () => "Accepted",
  started: (data) => `Taken up by a worker (attempt ${data.attempt})`,
  phase: (data) => `Phase: ${words(data.phase)}`,
  measured: (data) => `Measured ${data.moment}`,
  judged: (data) => `Verdict: ${words(data.verdict)}${data.reason ? ` (${words(data.reason)})` : ""}`,
  released: (data) => (data.head ? "Released; later jobs start from it" : "Released; the model's head stays what it was"),
  warning: (data) => `Warning: ${data.message}`,
  cost: () => "Cost recorded",
  snapshot: (data) => `Snapshot of step ${data.step}`,
  saved: (data) => `Checkpoint written after step ${data.step}`,
  resumed: (data) => `Training goes on after step ${data.step}`,
  cancel_requested: () => "Cancelling was asked for",
  pause_requested: () => "Pausing was asked for",
  pause_withdrawn: () => "The wish to pause was taken back",
  paused: () => "Paused",
  requeued: (data) => `Back in the queue: ${words(data.reason ?? "")}`,
  succeeded: (data) => (data.released === false ? "Succeeded; its checkpoint waits for a release" : "Succeeded"),
  failed: (data) => `Failed: ${data.error?.message ?? ""}`,
  cancelled: () => "Cancelled",
};

export function history(events) {
  const sentence = ({ type, data }) => (Object.hasOwn(SENTENCES, type) ? SENTENCES[type](data) : words(type));
  return element("ol", { class: "history", reversed: true },
    events.map((event) => element("li", {}, second(event.created_at), element("span", {}, sentence(event)))));
}
