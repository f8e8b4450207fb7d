/** The four figures that readers look for first, of one model or of two. */

import { element } from "../element.js";
import { number } from "../format.js";

export function tiles(before, after) {
  const value = (measurements, name, figure) => measurements?.sets[name]?.[figure]?.value;
  const pair = (name, figure) => [value(before, name, figure), value(after, name, figure)];
  const unseenPerplexity = value(before ?? after, "unseen", "perplexity");
  const unseenStrength = value(before ?? after, "unseen", "extraction_strength");
  return element("div", { class: "tiles" },
    tile("Forget perplexity", pair("forget", "perplexity"), 2,
      unseenPerplexity === undefined ? null : `unseen text had ${number(unseenPerplexity, 2)}`),
    tile("Extraction strength, forget", pair("forget", "extraction_strength"), 3,
      unseenStrength === undefined ? null : `unseen text had ${number(unseenStrength, 3)}`),
    tile("Membership AUC, loss", [before, after].map((measurements) => measurements?.attacks.loss?.auc.value), 3, "at 0.5 an attacker can only guess"),
    tile("Retain perplexity", pair("retain", "perplexity"), 2, before && after && "should stay as it was"));
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
