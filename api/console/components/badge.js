/** A state in a word and a colour; the word alone says all. */

import { element } from "../element.js";
import { words } from "../format.js";

const TONES = {
  queued: "calm", running: "live", paused: "warn", succeeded: "good", failed: "bad", cancelled: "faint",
  fetching: "live", ready: "good", passed: "good", not_judged: "calm", underpowered: "warn",
};

export function badge(state) {
  return element("span", { class: `badge ${TONES[state] ?? "calm"}` }, words(state));
}

/** A job's status, with what is wished but not yet done beside it; a checkpoint that waits for a person is no success yet. */
export function status(job) {
  if (job.status === "succeeded" && job.released === false) {
    return element("span", {}, element("span", { class: "badge warn" }, "waits for release"));
  }
  const wish = job.requested && element("span", { class: "faint" }, ` ${job.requested} requested`);
  return element("span", {}, badge(job.status), wish);
}
