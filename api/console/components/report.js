/** The report of a job that has ended, to be saved in each of its forms. */

import { element } from "../element.js";
import { save } from "../save.js";

const FORMS = [
  ["pdf", "Save as PDF", "for filing and printing"],
  ["html", "Save as HTML", "one file, for any browser"],
  ["json", "Save as JSON", "for programs"],
];
const MEANING =
  "Who asked for what and when, what was done on which code and machine, every figure, the verdict in words, and what all " +
  "this does not prove. It holds digests and counts, no text.";

export function report(service, job, signal) {
  const message = element("span", { role: "status", class: "faint" });
  const buttons = FORMS.map(([form, label, use]) => {
    const button = element("button", { type: "button", title: use }, label);
    button.addEventListener("click", async () => {
      button.disabled = true;
      message.textContent = "The report is being made …";
      try {
        save(await service.bytes(`${job.links.report}?format=${form}`, signal), `report-${job.id}.${form}`);
        message.textContent = "";
      } catch (error) {
        message.textContent = error.message;
      }
      button.disabled = false;
    });
    return button;
  });
  return element("div", {},
    element("p", { class: "faint prose" }, MEANING),
    element("div", { class: "job-actions" }, buttons, message));
}
