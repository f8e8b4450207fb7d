/** Buttons that pause a job, let it go on, or try it again: whichever its state allows. */

import { element } from "../element.js";

const WISHES = [
  { name: "pause", label: "Pause", allowed: (job) => ["queued", "running"].includes(job.status) && !job.requested },
  { name: "resume", label: "Resume", allowed: (job) => job.status === "paused" || job.requested === "pause" },
  { name: "retry", label: "Try again", allowed: (job) => job.status === "failed" && job.error?.retryable },
];

/** `done` is called with the job as the service then has it. */
export function steering(service, job, done, signal) {
  const error = element("span", { class: "error", role: "alert" });
  async function ask(name, { target }) {
    target.disabled = true;
    error.textContent = "";
    try {
      done(await service.post(`/v1/jobs/${job.id}/${name}`, signal));
    } catch (refused) {
      if (!signal.aborted) error.textContent = refused.message;
    }
    target.disabled = false;
  }
  const allowed = WISHES.filter((wish) => wish.allowed(job));
  return element("div", { class: "steering" },
    allowed.map(({ name, label }) =>
      element("button", { type: "button", id: name, click: (event) => ask(name, event) }, label)),
    error);
}
