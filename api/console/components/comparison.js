/** The figures of each model side by side, with their 95 % intervals. */

import { element } from "../element.js";
import { NONE, count, number, short, words } from "../format.js";
import { table } from "./table.js";

const SETS = ["forget", "retain", "unseen", "general", "probes", "protected"];
const MAIN = ["perplexity", "accuracy", "extraction_strength", "verbatim_recall", "cloze", "exposure_rank"];
/** What the points of a curve are, where they are no steps of relearning. */
const PLACES = {
  weight_distance_layers: (layer) => `layer ${layer}`,
  weight_line_loss: (percent) => `${percent} % of the way back`,
};
export const MOMENTS = { before: "Before", after: "After", retrained: "Retrained" };

/** The moments at which the job measured a model, in order. */
export function measuredMoments(measured) {
  return Object.keys(MOMENTS).filter((moment) => measured[moment]);
}

/** A figure as text. Perplexities go from 1 into the millions, most other figures from 0 to 1; probabilities may be tiny. */
function figureText(name, value) {
  if (value === undefined || value === null) return NONE;
  if (/(^|_)(p|quality)$|^weight_distance/.test(name)) return short(value);
  return number(value, /perplexity(_tokens)?$/.test(name) ? 2 : 3);
}

export function interval(figure, places) {
  if (!figure || figure.low === null || figure.high === null) return NONE;
  return `${number(figure.low, places)} to ${number(figure.high, places)}`;
}

function intervalText(name, figure) {
  if (!figure || figure.low === null || figure.high === null) return NONE;
  return `${figureText(name, figure.low)} to ${figureText(name, figure.high)}`;
}

/** Tables grouped by figure: `forget` after stands near `unseen` before, which is the comparison that counts. */
export function comparison(measured) {
  const all = rowsOfSets(measured, "", (model) => model.sets);
  const main = MAIN.flatMap((name) => all.filter((row) => row.name === name));
  const rest = all.filter(({ name }) => !MAIN.includes(name)).sort((a, b) => a.name.localeCompare(b.name));
  const copies = ["int8", "int4"].flatMap((copy) => rowsOfSets(measured, `, ${copy} copy`, (model) => model.variants[copy] ?? {}));
  return element("div", {},
    figures("Figures of each set", main, measured),
    folded("More figures", rest, measured),
    folded("With weights rounded to 8 and 4 bits", copies, measured),
    folded("Figures of all sets together, curves, benchmarks, true positive rates", otherRows(measured), measured));
}

function folded(title, rows, measured) {
  return rows.length > 0 && element("details", {}, element("summary", {}, title), figures(title, rows, measured));
}

/** Rows `{name, set, figureOf}`: `figureOf` returns a model's figure. */
function rowsOfSets(measured, suffix, sets) {
  const all = Object.values(measured).filter(Boolean).map(sets);
  const names = [...new Set(all.flatMap((setsOfModel) => Object.values(setsOfModel).flatMap(Object.keys)))];
  return names.flatMap((name) => SETS.filter((set) => all.some((setsOfModel) => setsOfModel[set]?.[name])).map((set) =>
    ({ name, set: `${set}${suffix}`, figureOf: (model) => sets(model)[set]?.[name] })));
}

function otherRows(measured) {
  const all = Object.values(measured).filter(Boolean);
  const keys = (part) => [...new Set(all.flatMap((model) => Object.keys(part(model))))];
  const rows = keys((model) => model.across).map((name) => ({
    name, set: all.findLast((model) => model.notes?.[name])?.notes[name] ?? "", figureOf: (model) => model.across[name],
  }));
  for (const curve of keys((model) => model.curves)) {
    const steps = [...new Set(all.flatMap((model) => (model.curves[curve] ?? []).map(({ step }) => step)))];
    rows.push(...steps.sort((a, b) => a - b).map((step) => ({
      name: curve in PLACES ? curve : `${curve}_perplexity`, set: (PLACES[curve] ?? ((number) => `after ${number} steps`))(step),
      figureOf: (model) => model.curves[curve]?.find((point) => point.step === step)?.figure,
    })));
  }
  for (const task of keys((model) => model.benchmarks)) {
    rows.push(...keys((model) => model.benchmarks[task] ?? {}).map((name) =>
      ({ name, set: task, figureOf: (model) => model.benchmarks[task]?.[name] })));
  }
  for (const attack of keys((model) => model.attacks)) {
    for (const percent of [1, 5]) {
      rows.push({ name: `true_positive_rate_at_${percent}_%_false`, set: attack,
        figureOf: (model) => model.attacks[attack]?.[`tpr_at_${percent}_fpr`] });
    }
  }
  return rows;
}

function figures(caption, rows, measured) {
  const shown = measuredMoments(measured);
  const columns = [["Figure"], ["Of"], ...shown.flatMap((moment) =>
    [[MOMENTS[moment], moment === "after" ? "number strong" : "number"], ["95 % interval", "number interval"]]),
    ["Records", "number"]];
  return table(caption, columns, rows.map((line, index) => row(line, rows[index - 1]?.name !== line.name, shown, measured)));
}

function row({ name, set, figureOf }, first, shown, measured) {
  const title = first ? words(name) : element("span", { class: "unseen" }, words(name));
  const values = shown.map((moment) => figureOf(measured[moment]));
  return element("tr", { class: first ? "group" : null, "data-figure": name, "data-set": set },
    element("th", { scope: "row" }, title),
    element("td", {}, set),
    shown.map((moment, index) => [
      element("td", { class: moment === "after" ? "number strong" : "number", "data-moment": moment },
        figureText(name, values[index]?.value)),
      element("td", { class: "number interval" }, intervalText(name, values[index]))]),
    element("td", { class: "number faint" }, count(values.findLast(Boolean)?.records)));
}
