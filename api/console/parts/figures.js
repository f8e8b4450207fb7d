/** Everything that was measured, with the words that keep a reader from taking it for more than it is. */

import { element } from "../element.js";
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

/** The elements of both headings; none where nothing is measured yet. */
export function figures(before, after) {
  if (!before && !after) return [];
  const warnings = [...new Set([...(before?.warnings ?? []), ...(after?.warnings ?? [])])];
  const shown = [
    element("h2", {}, "What the model shows of each set"),
    tiles(before, after),
    comparison(before, after),
    element("p", { class: "faint prose" }, COMPARE),
  ];
  if (warnings.length > 0) {
    shown.push(notice("warn", "About these figures", element("ul", {}, warnings.map((one) => element("li", {}, one)))));
  }
  if (Object.keys({ ...before?.attacks, ...after?.attacks }).length > 0) {
    shown.push(
      element("h2", {}, "Can forget and unseen text be told apart?"),
      element("p", { class: "faint prose" }, ATTACKED),
      attacks(before, after));
  }
  return shown;
}
