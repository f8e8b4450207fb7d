/** Buttons that pause, resume or retry a job: those that its status allows. */

import { element } from "../element.js";

const ACTIONS = [
  { name: "pause", label: "Pause", allowed: (job) => ["queued", "running"].includes(job.status) && !job.requested },
  { name: "resume", label: "Resume", allowed: (job) => job.status === "paused" || job.requested === "pause" },
  { name: "retry", label: "Try again", allowed: (job) => job.status === "failed" && job.error?.retryable },
];

/** `done` is called with the job as the service returns it. */
export function jobActions(service, job, done, signal) {
  const error = element("span", { class: "error", role: "alert" });
  async function request(name, { target }) {
    target.disabled = true;
    error.textContent = "";
    try {
      done(await service.post(`/v1/jobs/${job.id}/${name}`, signal));
    } catch (refusal) {
      if (!signal.aborted) error.textContent = refusal.message;
    }
    target.disabled = false;
  }
  const allowed = ACTIONS.filter((action) => action.allowed(job));
  return element("div", { class: "job-actions" },
    allowed.map(({ name, label }) =>
      element("button", { type: "button", id: name, click: (event) => request(name, event) }, label)),
    error);
}
