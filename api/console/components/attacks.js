/** Membership attacks on each model: AUCs with their intervals, as numbers and as a plot of dots and lines around 0.5. */

import { drawing, element } from "../element.js";
import { number } from "../format.js";
import { MOMENTS, interval, measuredMoments } from "./comparison.js";
import { scrollable } from "./table.js";

const WIDTH = 320;
const MARGIN = 8;
const ROW_HEIGHT = 34;
const LINE_DISTANCE = 11;
const TICKS = [0, 0.25, 0.5, 0.75, 1];
const MAIN = ["loss", "zlib", "min_k_20", "min_k_40", "min_k++_20"];

/** The attack's name as papers write it: `min_k++_20` → `Min-K++ 20 %`. */
function title(name) {
  const match = /^min_k(\+\+)?_(\d+)$/.exec(name);
  return match ? `Min-K${match[1] ?? ""} ${match[2]} %` : name;
}

/** The horizontal position of an AUC in the plot. */
function position(value) {
  return MARGIN + Math.min(1, Math.max(0, value)) * (WIDTH - 2 * MARGIN);
}

export function attacks(measured) {
  const shown = measuredMoments(measured).filter((moment) => Object.keys(measured[moment].attacks).length > 0);
  const available = new Set(shown.flatMap((moment) => Object.keys(measured[moment].attacks)));
  const names = [...MAIN.filter((name) => available.has(name)), ...[...available].filter((name) => !MAIN.includes(name))];
  const main = names.filter((name) => MAIN.includes(name));
  const rest = names.filter((name) => !MAIN.includes(name));
  return element("div", {},
    legend(shown),
    plot("Membership attacks", main.length ? main : rest, shown, measured),
    main.length > 0 && rest.length > 0 && element("details", {}, element("summary", {}, "More attacks"),
      plot("More membership attacks", rest, shown, measured)));
}

function legend(shown) {
  const key = (moment) => drawing("svg", { width: 26, height: 12, "aria-hidden": "true" },
    drawing("g", { class: moment },
      drawing("line", { class: "whisker", x1: 1, x2: 25, y1: 6, y2: 6 }), drawing("circle", { cx: 13, cy: 6, r: 4 })));
  return element("p", { class: "legend" }, shown.map((moment) => [key(moment), MOMENTS[moment].toLowerCase()]),
    element("span", { class: "faint" }, "The dot is the AUC, the line its 95 % interval."));
}

function plot(caption, names, shown, measured) {
  const head = ["Attack", ...shown.flatMap((moment) => [MOMENTS[moment], "95 % interval"])].map((heading, index) =>
    element("th", { scope: "col", class: index ? "number" : null }, heading));
  return scrollable(caption,
    element("table", { class: "attacks" },
      element("caption", { class: "unseen" }, caption),
      element("thead", {}, element("tr", {}, head, element("th", { class: "plot", "aria-hidden": "true" }, axis()))),
      element("tbody", {}, names.map((name) => row(name, shown, shown.map((moment) => measured[moment].attacks[name]?.auc))))));
}

function row(name, shown, aucs) {
  const firstLine = ROW_HEIGHT / 2 - ((shown.length - 1) * LINE_DISTANCE) / 2;
  return element("tr", { "data-attack": name },
    element("th", { scope: "row" }, title(name)),
    shown.map((moment, index) => [
      element("td", { class: moment === "after" ? "number strong" : "number", "data-moment": moment },
        number(aucs[index]?.value, 3)),
      element("td", { class: "number interval" }, interval(aucs[index], 3))]),
    element("td", { class: "plot", "aria-hidden": "true" }, drawing(
      "svg", { width: WIDTH, height: ROW_HEIGHT, viewBox: `0 0 ${WIDTH} ${ROW_HEIGHT}` },
      TICKS.map((tick) =>
        drawing("line", { class: tick === 0.5 ? "middle" : "grid", x1: position(tick), x2: position(tick), y1: 0, y2: ROW_HEIGHT })),
      shown.map((moment, index) => aucs[index] && mark(moment, aucs[index], firstLine + index * LINE_DISTANCE)))));
}

function mark(moment, figure, y) {
  const { low, high, value } = figure;
  return drawing("g", { class: moment },
    low !== null && high !== null && drawing("line", { class: "whisker", x1: position(low), x2: position(high), y1: y, y2: y }),
    drawing("circle", { cx: position(value), cy: y, r: 4 }));
}

function axis() {
  const anchor = (tick) => (tick === 0 ? "start" : tick === 1 ? "end" : "middle");
  return drawing("svg", { width: WIDTH, height: 18, viewBox: `0 0 ${WIDTH} 18` },
    TICKS.map((tick) => drawing("text", { x: position(tick), y: 13, "text-anchor": anchor(tick) }, String(tick))));
}
