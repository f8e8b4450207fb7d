/** Figures of each model beside each other, with their 95 % intervals. */

import { element } from "../element.js";
import { NONE, count, number, short, words } from "../format.js";
import { table } from "./table.js";

const SETS = ["forget", "retain", "unseen", "general", "probes", "protected"];
const MAIN = ["perplexity", "accuracy", "extraction_strength", "verbatim_recall", "cloze", "exposure_rank"];
export const MOMENTS = { before: "Before", after: "After", retrained: "Retrained" };

/** The moments at which something was measured, in order. */
export function moments(measured) {
  return Object.keys(MOMENTS).filter((moment) => measured[moment]);
}

/** Perplexities go from 1 into the millions, most else from 0 to 1; probabilities may be as small as they like. */
function written(name, value) {
  if (value === undefined || value === null) return NONE;
  if (/(^|_)(p|quality)$/.test(name)) return short(value);
  return number(value, /perplexity(_tokens)?$/.test(name) ? 2 : 3);
}

export function interval(figure, places) {
  if (!figure || figure.low === null || figure.high === null) return NONE;
  return `${number(figure.low, places)} to ${number(figure.high, places)}`;
}

function ends(name, figure) {
  if (!figure || figure.low === null || figure.high === null) return NONE;
  return `${written(name, figure.low)} to ${written(name, figure.high)}`;
}

/** Grouped by figure, so that forget after stands near unseen before: that is the comparison that counts. */
export function comparison(measured) {
  const found = ofSets(measured, "", (one) => one.sets);
  const main = MAIN.flatMap((name) => found.filter((row) => row.name === name));
  const rest = found.filter(({ name }) => !MAIN.includes(name)).sort((a, b) => a.name.localeCompare(b.name));
  const copies = ["int8", "int4"].flatMap((copy) => ofSets(measured, `, ${copy} copy`, (one) => one.variants[copy] ?? {}));
  return element("div", {},
    figures("What each set shows", main, measured),
    folded("More figures", rest, measured),
    folded("With weights rounded to 8 and 4 bits", copies, measured),
    folded("Across sets, curves, benchmarks, true positive rates", others(measured), measured));
}

function folded(title, rows, measured) {
  return rows.length > 0 && element("details", {}, element("summary", {}, title), figures(title, rows, measured));
}

/** Rows `{name, set, of}`: `of` gives one model's figure. */
function ofSets(measured, suffix, sets) {
  const all = Object.values(measured).filter(Boolean).map(sets);
  const names = [...new Set(all.flatMap((one) => Object.values(one).flatMap(Object.keys)))];
  return names.flatMap((name) => SETS.filter((set) => all.some((one) => one[set]?.[name])).map((set) =>
    ({ name, set: `${set}${suffix}`, of: (one) => sets(one)[set]?.[name] })));
}

function others(measured) {
  const all = Object.values(measured).filter(Boolean);
  const keys = (part) => [...new Set(all.flatMap((one) => Object.keys(part(one))))];
  const rows = keys((one) => one.across).map((name) => ({
    name, set: all.findLast((one) => one.notes?.[name])?.notes[name] ?? "", of: (one) => one.across[name],
  }));
  for (const curve of keys((one) => one.curves)) {
    const steps = [...new Set(all.flatMap((one) => (one.curves[curve] ?? []).map(({ step }) => step)))];
    rows.push(...steps.sort((a, b) => a - b).map((step) => ({
      name: `${curve}_perplexity`, set: `after ${step} steps`,
      of: (one) => one.curves[curve]?.find((place) => place.step === step)?.figure,
    })));
  }
  for (const task of keys((one) => one.benchmarks)) {
    rows.push(...keys((one) => one.benchmarks[task] ?? {}).map((name) =>
      ({ name, set: task, of: (one) => one.benchmarks[task]?.[name] })));
  }
  for (const attack of keys((one) => one.attacks)) {
    for (const percent of [1, 5]) {
      rows.push({ name: `true_positive_rate_at_${percent}_%_false`, set: attack,
        of: (one) => one.attacks[attack]?.[`tpr_at_${percent}_fpr`] });
    }
  }
  return rows;
}

function figures(caption, rows, measured) {
  const shown = moments(measured);
  const columns = [["Figure"], ["Of"], ...shown.flatMap((moment) =>
    [[MOMENTS[moment], moment === "after" ? "number strong" : "number"], ["95 % interval", "number interval"]]),
    ["Records", "number"]];
  return table(caption, columns, rows.map((one, place) => row(one, rows[place - 1]?.name !== one.name, shown, measured)));
}

function row({ name, set, of }, first, shown, measured) {
  const title = first ? words(name) : element("span", { class: "unseen" }, words(name));
  const found = shown.map((moment) => of(measured[moment]));
  return element("tr", { class: first ? "group" : null, "data-figure": name, "data-set": set },
    element("th", { scope: "row" }, title),
    element("td", {}, set),
    shown.map((moment, place) => [
      element("td", { class: moment === "after" ? "number strong" : "number", "data-moment": moment },
        written(name, found[place]?.value)),
      element("td", { class: "number interval" }, ends(name, found[place]))]),
    element("td", { class: "number faint" }, count(found.findLast(Boolean)?.records)));
}
