/** A job's events as sentences, newest first. */

import { element } from "../element.js";
import { words } from "../format.js";
import { second } from "./time.js";

const SENTENCES = {
  created: () => "Accepted",
  started: (data) => `Started by a worker (attempt ${data.attempt})`,
  environment: (data) => `Runs on ${data.device}, torch ${data.libraries?.torch}, Python ${data.python}`,
  phase: (data) => `Phase: ${words(data.phase)}`,
  measured: (data) => `Measured ${data.moment}`,
  judged: (data) => `Verdict: ${words(data.verdict)}${data.reason ? ` (${words(data.reason)})` : ""}`,
  released: (data) => (data.head ? "Released; later jobs start from it" : "Released; later jobs start from the same model as before"),
  warning: (data) => `Warning: ${data.message}`,
  cost: () => "Cost recorded",
  snapshot: (data) => `Snapshot of step ${data.step}`,
  tuned: (data) => `Learning rate ${data.learning_rate} found in ${data.trials} trial updates`,
  trained: (data) => `Training ended after step ${data.step} of at most ${data.steps} (${words(data.reason)}); step ${data.best_step} is kept`,
  saved: (data) => `Checkpoint written after step ${data.step}`,
  resumed: (data) => `Training continues after step ${data.step}`,
  cancel_requested: () => "Someone asked to cancel the job",
  pause_requested: () => "Someone asked to pause the job",
  pause_withdrawn: () => "The request to pause was withdrawn",
  paused: () => "Paused",
  requeued: (data) => `Back in the queue: ${words(data.reason ?? "")}`,
  extended: (data) => `Deadline extended from ${data.previous_due} to ${data.due}`,
  succeeded: (data) => (data.released === false ? "Succeeded; its checkpoint waits for a release" : "Succeeded"),
  failed: (data) => `Failed: ${data.error?.message ?? ""}`,
  cancelled: () => "Cancelled",
};

export function history(events) {
  const sentence = ({ type, data }) => (Object.hasOwn(SENTENCES, type) ? SENTENCES[type](data) : words(type));
  return element("ol", { class: "history", reversed: true },
    events.map((event) => element("li", {}, second(event.created_at), element("span", {}, sentence(event)))));
}
