/** The button that cancels a job after the person has confirmed. A failed job is cancelled to end its deadline. */

import { element } from "../element.js";
import { open } from "./dialog.js";

/** `done` is called when the service has accepted the request. */
export function cancelButton(service, job, done, signal) {
  const error = element("p", { class: "error", role: "alert" });
  const dialog = element("dialog", { "aria-labelledby": "cancel-title" },
    element("h2", { id: "cancel-title" }, "Cancel this job?"),
    element("p", {}, "The model stays as it is. A cancelled job cannot be continued."),
    job.status === "failed" && element("p", {}, "Its deadline then no longer counts. Cancel it if the request was withdrawn, ",
      "or if another job has answered it."),
    error,
    element("form", { method: "dialog" },
      element("button", { value: "keep" }, "Keep the job"),
      element("button", { value: "cancel", class: "danger", type: "button", click: cancel }, "Cancel the job")));
  async function cancel({ target }) {
    target.disabled = true;
    try {
      await service.post(`/v1/jobs/${job.id}/cancel`, signal);
      dialog.close();
      done();
    } catch (refusal) {
      error.textContent = refusal.message;
    }
    target.disabled = false;
  }
  function show() {
    error.textContent = "";
    open(dialog);
  }
  return element("div", {},
    element("button", { type: "button", class: "danger", id: "cancel", click: show }, "Cancel job"), dialog);
}
