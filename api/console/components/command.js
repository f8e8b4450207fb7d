/** A command to copy. */

import { element } from "../element.js";

export function command(text) {
  const copy = element("button", { type: "button", class: "quiet" }, "Copy");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // no clipboard without https: Ctrl-C takes the selection
      copy.textContent = "Selected";
    }
  });
  const code = element("code", {}, text);
  return element("div", { class: "command" }, element("pre", { tabindex: "0" }, code), copy);
}
