/** All figures of a job, with the sentences that tell a reader what they prove and what they do not. */

import { element } from "../element.js";
import { count, words } from "../format.js";
import { attacks } from "./attacks.js";
import { comparison } from "./comparison.js";
import { notice } from "./notice.js";
import { tiles } from "./tiles.js";

const READ_FIGURES =
  "A model that never saw the forget set would score on it about as this model scored on unseen text before the job. " +
  "Compare these two columns. The figures describe how the model behaves on these texts. They do not prove that nothing " +
  "is left.";
const READ_ATTACKS =
  "A membership attack tries to tell the text to forget from unseen text by the model's reactions. At 0.5 the attacker can " +
  "only guess. Above 0.5 the model still knows the text. Below 0.5 the text stands out because it is unusually unknown to " +
  "the model; that gives it away too.";

/** Returns both headings with their elements; empty if nothing is measured. `measured`: the measurements by moment. */
export function figures(measured) {
  const all = Object.values(measured).filter(Boolean);
  if (all.length === 0) return [];
  const shown = [
    element("h2", {}, "What the model knows of each set"),
    tiles(measured.before, measured.after),
    comparison(measured),
    element("p", { class: "faint prose" }, READ_FIGURES),
  ];
  const warnings = all.flatMap((measurements) => measurements.warnings);
  const remarks = [...new Set([...warnings, ...all.flatMap((measurements) => measurements.cut_short.map(cutShort))])];
  if (remarks.length > 0) {
    const items = remarks.map((remark) => element("li", {}, remark));
    shown.push(notice(warnings.length > 0 ? "warn" : "calm", "About these figures", element("ul", {}, items)));
  }
  if (all.some((measurements) => Object.keys(measurements.attacks).length > 0)) {
    shown.push(
      element("h2", {}, "Can forget and unseen text be told apart?"),
      element("p", { class: "faint prose" }, READ_ATTACKS),
      attacks(measured));
  }
  return shown;
}

function cutShort({ measurement, what, done, of, reason }) {
  const limit = reason === "seconds" ? "its limit on time" : "its limit on records";
  return `${words(measurement)}, ${words(what)}: ${count(done)} of ${count(of)} were looked at (${limit})`;
}
