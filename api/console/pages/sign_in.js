/** Asks for an API key, tries it, and hands it on. */

import { element } from "../element.js";
import { Service } from "../service.js";

/** `accept(key)` when the service knows the key; `reject(reason)` shows this page again with the reason. */
export function signIn({ main, reason, accept, reject }) {
  document.title = "Sign in · Unlearning service";
  const key = element("input", {
    id: "key", type: "password", name: "key", required: true, autocomplete: "off", spellcheck: "false",
    "aria-describedby": "key-help key-error", "aria-invalid": reason ? "true" : null,
  });
  const button = element("button", { class: "primary" }, "Sign in");
  const form = element(
    "form",
    { class: "sign-in" },
    element("h1", {}, "Sign in"),
    element("label", { for: "key" }, "API key"),
    key,
    element("p", { id: "key-help", class: "faint" },
      "Kept in this tab until you close it. Whoever runs the service makes keys with ",
      element("code", {}, "unlearn keys create"), "; a service started by ", element("code", {}, "unlearn up"),
      " has two in its data folder: ", element("code", {}, "admin.key"), " and, for the person who accepts checkpoints, ",
      element("code", {}, "release.key"), "."),
    element("p", { id: "key-error", class: "error", role: "alert" }, reason),
    button,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const value = key.value.trim();
    if (!/^[\x21-\x7e]+$/.test(value)) return reject("This is not a key: keys are letters, digits and underscores.");
    button.disabled = true;
    let known = true;
    try {
      await new Service(value, () => (known = false)).get("/v1/keys/self");
    } catch (error) {
      return reject(known ? error.message : "The service does not know this key. Check that you pasted all of it.");
    }
    accept(value);
  });
  main.replaceChildren(form);
  key.focus();
}
