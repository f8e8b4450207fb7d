/** Everything that was measured, with the words that keep a reader from taking it for more than it is. */

import { element } from "../element.js";
import { count, words } from "../format.js";
import { attacks } from "./attacks.js";
import { comparison } from "./comparison.js";
import { notice } from "./notice.js";
import { tiles } from "./tiles.js";

const COMPARE =
  "A model that had never seen the forget set would treat it as this one treated unseen text before: compare forget " +
  "after with unseen before. These figures describe behaviour on this text; they do not prove that nothing is left.";
const ATTACKED =
  "Membership attacks. At 0.5 an attacker guesses. Above it the model still knows the text; below it the text stands " +
  "out as unusually unknown, which gives it away too.";

/** `measured` holds what each model showed, by moment. The elements of both headings; none where nothing is measured. */
export function figures(measured) {
  const all = Object.values(measured).filter(Boolean);
  if (all.length === 0) return [];
  const shown = [
    element("h2", {}, "What the model shows of each set"),
    tiles(measured.before, measured.after),
    comparison(measured),
    element("p", { class: "faint prose" }, COMPARE),
  ];
  const warnings = all.flatMap((one) => one.warnings);
  const said = [...new Set([...warnings, ...all.flatMap((one) => one.cut_short.map(cut))])];
  if (said.length > 0) {
    const items = said.map((one) => element("li", {}, one));
    shown.push(notice(warnings.length > 0 ? "warn" : "calm", "About these figures", element("ul", {}, items)));
  }
  if (all.some((one) => Object.keys(one.attacks).length > 0)) {
    shown.push(
      element("h2", {}, "Can forget and unseen text be told apart?"),
      element("p", { class: "faint prose" }, ATTACKED),
      attacks(measured));
  }
  return shown;
}

function cut({ measurement, what, done, of, reason }) {
  const why = reason === "seconds" ? "its time was up" : "its limit on records";
  return `${words(measurement)}, ${words(what)}: ${count(done)} of ${count(of)} were looked at (${why})`;
}
