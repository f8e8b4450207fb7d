/** Asks for an API key and tries it. */

import { element } from "../element.js";
import { Service } from "../service.js";

/** Calls `accept(key)` if the service knows the key; `reject(reason)` shows this page again with the reason. */
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
      "Your browser keeps the key until you close this tab. The operator of the service creates keys with ",
      element("code", {}, "unlearn keys create"), ". A service that was started with ", element("code", {}, "unlearn up"),
      " has two keys in its data folder: ", element("code", {}, "admin.key"), ", and ", element("code", {}, "release.key"),
      " for the person who releases checkpoints."),
    element("p", { id: "key-error", class: "error", role: "alert" }, reason),
    button,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const value = key.value.trim();
    if (!/^[\x21-\x7e]+$/.test(value)) return reject("This is not a key. Keys consist of letters, digits and underscores.");
    button.disabled = true;
    let known = true;
    try {
      await new Service(value, () => (known = false)).post("/v1/keys/self/sign-in");
    } catch (error) {
      return reject(known ? error.message : "The service does not know this key. Check that you pasted all of it.");
    }
    accept(value);
  });
  main.replaceChildren(form);
  key.focus();
}
