/** Whether a checkpoint may be had; where it waits, the button by which a second person accepts it, with a reason. */

import { element } from "../element.js";
import { may } from "../scopes.js";
import { open } from "./dialog.js";
import { notice } from "./notice.js";

/** `key` is the reader's own; `done` is called with the checkpoint as it then is. */
export function waiting(service, made, job, key, done, signal) {
  if (made.released) return [];
  return [notice("warn", "Waits for a release",
    element("p", {}, "It did not pass its policy. Until a person accepts it, its files are given to nobody but those who ",
      "may release it, and later jobs do not start from it."),
    may(key, "release:write")
      ? key.id === job.submitter
        ? element("p", { class: "faint" }, "The job was submitted with your key: a second person must accept it.")
        : button(service, made, done, signal)
      : element("p", { class: "faint" }, "Your key may not release it: that takes the scope ",
        element("code", {}, "release:write"), "."))];
}

function button(service, made, done, signal) {
  const error = element("p", { class: "error", role: "alert" });
  const reason = element("textarea", { id: "release-reason", rows: 4, maxlength: 2000, required: true });
  const dialog = element("dialog", { "aria-labelledby": "release-title" },
    element("h2", { id: "release-title" }, "Release this checkpoint?"),
    element("p", {}, "From now on its files may be had, and later jobs may start from it. This cannot be taken back."),
    element("form", { method: "dialog", submit: ask },
      element("label", { for: "release-reason" }, "Why it may be used although it missed its policy"),
      reason,
      element("p", { class: "faint" }, "Kept on the audit log with the name of your key."),
      error,
      element("div", { class: "choices" },
        element("button", { type: "button", value: "keep", click: () => dialog.close() }, "Let it wait"),
        element("button", { value: "release", class: "danger" }, "Release it"))));
  async function ask(event) {
    event.preventDefault();
    if (!reason.value.trim()) {
      error.textContent = "Say in words why it may be used: that is kept on the audit log.";
      reason.focus();
      return;
    }
    const { submitter } = event;
    submitter.disabled = true;
    try {
      const then = await service.post(`/v1/checkpoints/${made.id}/release`, signal, { reason: reason.value });
      dialog.close();
      done(then);
    } catch (refused) {
      error.textContent = refused.message;
    }
    submitter.disabled = false;
  }
  function show() {
    error.textContent = "";
    open(dialog);
  }
  return element("div", {}, element("button", { type: "button", id: "release", click: show }, "Release it"), dialog);
}
