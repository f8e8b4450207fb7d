/** The button that asks a job to stop, after asking the person. */

import { element } from "../element.js";
import { open } from "./dialog.js";

/** `done` is called when the service has taken the wish. */
export function cancelButton(service, job, done, signal) {
  const error = element("p", { class: "error", role: "alert" });
  const dialog = element("dialog", { "aria-labelledby": "cancel-title" },
    element("h2", { id: "cancel-title" }, "Cancel this job?"),
    element("p", {}, "The model stays as it was before. A cancelled job cannot be taken up again."),
    error,
    element("form", { method: "dialog" },
      element("button", { value: "keep" }, "Keep it"),
      element("button", { value: "cancel", class: "danger", type: "button", click: ask }, "Cancel the job")));
  async function ask({ target }) {
    target.disabled = true;
    try {
      await service.post(`/v1/jobs/${job}/cancel`, signal);
      dialog.close();
      done();
    } catch (refused) {
      error.textContent = refused.message;
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
