/** Figures before and after, per set, with their 95 % intervals. */

import { element } from "../element.js";
import { NONE, count, number, words } from "../format.js";
import { table } from "./table.js";

const SETS = ["forget", "retain", "unseen", "general"];
const MAIN = ["perplexity", "accuracy", "extraction_strength"];
const COLUMNS = [
  ["Figure"], ["Set"], ["Before", "number"], ["95 % interval", "number interval"],
  ["After", "number strong"], ["95 % interval", "number interval"], ["Records", "number"],
];

/** Perplexities go from 1 into the millions, everything else from 0 to 1. */
function decimals(name) {
  return name.startsWith("perplexity") ? 2 : 3;
}

export function interval(figure, places) {
  if (!figure || figure.low === null || figure.high === null) return NONE;
  return `${number(figure.low, places)} to ${number(figure.high, places)}`;
}

/** Grouped by figure, so that forget after stands near unseen before: that is the comparison that counts. */
export function comparison(before, after) {
  const names = new Set([before, after].flatMap((one) => Object.values(one?.sets ?? {})).flatMap(Object.keys));
  const rest = [...names].filter((name) => !MAIN.includes(name)).sort();
  return element("div", {},
    figures("Perplexity, accuracy and extraction strength", MAIN.filter((name) => names.has(name)), before, after),
    rest.length > 0 && element("details", {}, element("summary", {}, "More figures"),
      figures("More figures", rest, before, after)));
}

function figures(caption, names, before, after) {
  const rows = names.flatMap((name) => {
    const sets = SETS.filter((set) => before?.sets[set]?.[name] || after?.sets[set]?.[name]);
    return sets.map((set, index) => row(name, set, index === 0, before?.sets[set]?.[name], after?.sets[set]?.[name]));
  });
  return table(caption, COLUMNS, rows);
}

function row(name, set, first, before, after) {
  const places = decimals(name);
  const title = first ? words(name) : element("span", { class: "unseen" }, words(name));
  return element("tr", { class: first ? "group" : null, "data-figure": name, "data-set": set },
    element("th", { scope: "row" }, title),
    element("td", {}, set),
    element("td", { class: "number", "data-moment": "before" }, number(before?.value, places)),
    element("td", { class: "number interval" }, interval(before, places)),
    element("td", { class: "number strong", "data-moment": "after" }, number(after?.value, places)),
    element("td", { class: "number interval" }, interval(after, places)),
    element("td", { class: "number faint" }, count((after ?? before)?.records)));
}
