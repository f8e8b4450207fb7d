/** The box of a checkpoint that waits for its release, with the button by which a second person releases it. */

import { element } from "../element.js";
import { may } from "../key_scopes.js";
import { open } from "./dialog.js";
import { notice } from "./notice.js";

/** Empty if the checkpoint is released. `key`: the reader's own key; `done` is called with the released checkpoint. */
export function releaseGate(service, checkpoint, job, key, done, signal) {
  if (checkpoint.released) return [];
  return [notice("warn", "Waits for a release",
    element("p", {}, "This checkpoint did not pass its policy. Until a person releases it, only people who may release it can ",
      "download its files, and later jobs do not start from it."),
    may(key, "release:write")
      ? key.id === job.submitter
        ? element("p", { class: "faint" }, "This job was submitted with your key, so a second person must accept it.")
        : releaseButton(service, checkpoint, done, signal)
      : element("p", { class: "faint" }, "Your key may not release it. A key needs the scope ",
        element("code", {}, "release:write"), " for that."))];
}

function releaseButton(service, checkpoint, done, signal) {
  const error = element("p", { class: "error", role: "alert" });
  const reason = element("textarea", { id: "release-reason", rows: 4, maxlength: 2000, required: true });
  const dialog = element("dialog", { "aria-labelledby": "release-title" },
    element("h2", { id: "release-title" }, "Release this checkpoint?"),
    element("p", {}, "From then on its files can be downloaded, and later jobs may start from it. This cannot be undone."),
    element("form", { method: "dialog", submit: release },
      element("label", { for: "release-reason" }, "Why may it be used although it did not pass its policy?"),
      reason,
      element("p", { class: "faint" }, "Your reason is kept in the audit log, with the name of your key."),
      error,
      element("div", { class: "choices" },
        element("button", { type: "button", value: "keep", click: () => dialog.close() }, "Do not release it"),
        element("button", { value: "release", class: "danger" }, "Release it"))));
  async function release(event) {
    event.preventDefault();
    if (!reason.value.trim()) {
      error.textContent = "Write down why it may be used. Your reason is kept in the audit log.";
      reason.focus();
      return;
    }
    const { submitter } = event;
    submitter.disabled = true;
    try {
      const released = await service.post(`/v1/checkpoints/${checkpoint.id}/release`, signal, { reason: reason.value });
      dialog.close();
      done(released);
    } catch (refusal) {
      error.textContent = refusal.message;
    }
    submitter.disabled = false;
  }
  function show() {
    error.textContent = "";
    open(dialog);
  }
  return element("div", {}, element("button", { type: "button", id: "release", click: show }, "Release it"), dialog);
}
