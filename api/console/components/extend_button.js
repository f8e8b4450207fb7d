/** The button that extends a job's deadline, with a reason. */

import { element } from "../element.js";
import { daysLeft } from "../format.js";
import { SETTLED } from "../job_status.js";
import { open } from "./dialog.js";

/** Whether the deadline may still be moved: it counts, and its day is not over. */
export function isExtendable(job) {
  return Boolean(job.due) && !SETTLED.has(job.status) && daysLeft(job.due) >= 0;
}

/** `done` is called with the job as the service returns it. */
export function extendButton(service, job, done, signal) {
  const error = element("p", { class: "error", role: "alert" });
  const reason = element("textarea", { id: "extend-reason", rows: 4, maxlength: 2000, required: true });
  const due = element("input", { id: "extend-due", type: "date", min: job.due });
  const dialog = element("dialog", { "aria-labelledby": "extend-title" },
    element("h2", { id: "extend-title" }, "Extend the deadline?"),
    element("p", {}, `The job is due on ${job.due}. All extensions together add two months at most to its first deadline.`),
    element("form", { method: "dialog", submit: extend },
      element("label", { for: "extend-reason" }, "Why does the request take longer?"),
      reason,
      element("p", { class: "faint" }, "Your reason is kept with the job and in its report, which the person who asked may read."),
      element("label", { for: "extend-due" }, "New deadline; left empty, the latest day that is allowed"),
      due,
      error,
      element("div", { class: "choices" },
        element("button", { type: "button", value: "keep", click: () => dialog.close() }, "Leave it as it is"),
        element("button", { value: "extend" }, "Extend it"))));
  async function extend(event) {
    event.preventDefault();
    if (!reason.value.trim()) {
      error.textContent = "Write down why the request takes longer.";
      reason.focus();
      return;
    }
    const { submitter } = event;
    submitter.disabled = true;
    try {
      const body = { reason: reason.value, ...(due.value ? { due: due.value } : {}) };
      const extended = await service.post(`/v1/jobs/${job.id}/extend`, signal, body);
      dialog.close();
      done(extended);
    } catch (refusal) {
      error.textContent = refusal.message;
    }
    submitter.disabled = false;
  }
  function show() {
    error.textContent = "";
    open(dialog);
  }
  return element("div", {}, element("button", { type: "button", id: "extend", click: show }, "Extend deadline"), dialog);
}
