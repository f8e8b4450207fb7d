/** The four figures that are asked for first; of one model, where only one was measured. */

import { element } from "../element.js";
import { number } from "../format.js";

export function tiles(before, after) {
  const set = (moment, name, figure) => moment?.sets[name]?.[figure]?.value;
  const both = (name, figure) => [set(before, name, figure), set(after, name, figure)];
  const reference = set(before ?? after, "unseen", "perplexity");
  const strength = set(before ?? after, "unseen", "extraction_strength");
  return element("div", { class: "tiles" },
    tile("Forget perplexity", both("forget", "perplexity"), 2,
      reference === undefined ? null : `unseen text had ${number(reference, 2)}`),
    tile("Extraction strength, forget", both("forget", "extraction_strength"), 3,
      strength === undefined ? null : `unseen text had ${number(strength, 3)}`),
    tile("Membership AUC, loss", [before, after].map((one) => one?.attacks.loss?.auc.value), 3, "0.5 cannot be told apart"),
    tile("Retain perplexity", both("retain", "perplexity"), 2, before && after && "should stay as it was"));
}

function tile(title, [before, after], places, note) {
  if (before === undefined && after === undefined) return null;
  return element("div", { class: "tile" },
    element("h3", {}, title),
    element("p", { class: "change" },
      before !== undefined && after !== undefined && [
        element("span", { class: "faint" }, number(before, places)),
        element("span", { class: "arrow", "aria-label": "to", role: "img" }, "→")],
      element("strong", {}, number(after ?? before, places))),
    note && element("p", { class: "faint" }, note));
}
