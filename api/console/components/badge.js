/** A state as a word on a colour. The word alone tells the state. */

import { element } from "../element.js";
import { words } from "../format.js";

const TONES = {
  queued: "calm", running: "live", paused: "warn", succeeded: "good", failed: "bad", cancelled: "faint",
  fetching: "live", ready: "good", pending: "live", delivered: "good", passed: "good", not_judged: "calm", underpowered: "warn",
};

export function badge(state) {
  return element("span", { class: `badge ${TONES[state] ?? "calm"}` }, words(state));
}

/** A job's status, with a request that is not carried out yet beside it. A job whose checkpoint waits for a release does not
 * look like a success. */
export function status(job) {
  if (job.status === "succeeded" && job.released === false) {
    return element("span", {}, element("span", { class: "badge warn" }, "waits for release"));
  }
  const request = job.requested && element("span", { class: "faint" }, ` ${job.requested} requested`);
  return element("span", {}, badge(job.status), request);
}
