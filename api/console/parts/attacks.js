/** Membership attacks before and after: AUCs with intervals, as numbers and as dots with whiskers around 0.5. */

import { drawing, element } from "../element.js";
import { number } from "../format.js";
import { interval } from "./comparison.js";
import { scrollable } from "./table.js";

const WIDTH = 320;
const MARGIN = 8;
const ROW = 34;
const TICKS = [0, 0.25, 0.5, 0.75, 1];
const MAIN = ["loss", "zlib", "min_k_20", "min_k_40", "min_k++_20"];

/** The attack's name as papers write it: `min_k++_20` → `Min-K++ 20 %`. */
function title(name) {
  const match = /^min_k(\+\+)?_(\d+)$/.exec(name);
  return match ? `Min-K${match[1] ?? ""} ${match[2]} %` : name;
}

function at(value) {
  return MARGIN + Math.min(1, Math.max(0, value)) * (WIDTH - 2 * MARGIN);
}

export function attacks(before, after) {
  const found = new Set([before, after].flatMap((one) => Object.keys(one?.attacks ?? {})));
  const names = [...MAIN.filter((name) => found.has(name)), ...[...found].filter((name) => !MAIN.includes(name))];
  const main = names.filter((name) => MAIN.includes(name));
  const rest = names.filter((name) => !MAIN.includes(name));
  return element("div", {},
    legend(),
    plot("Membership attacks", main.length ? main : rest, before, after),
    main.length > 0 && rest.length > 0 && element("details", {}, element("summary", {}, "More attacks"),
      plot("More membership attacks", rest, before, after)));
}

function legend() {
  const key = (moment) => drawing("svg", { width: 26, height: 12, "aria-hidden": "true" },
    drawing("g", { class: moment },
      drawing("line", { class: "whisker", x1: 1, x2: 25, y1: 6, y2: 6 }), drawing("circle", { cx: 13, cy: 6, r: 4 })));
  return element("p", { class: "legend" }, key("before"), "before", key("after"), "after",
    element("span", { class: "faint" }, "dot: AUC, line: 95 % interval"));
}

function plot(caption, names, before, after) {
  const head = ["Attack", "Before", "95 % interval", "After", "95 % interval"].map((heading, index) =>
    element("th", { scope: "col", class: index ? "number" : null }, heading));
  return scrollable(caption,
    element("table", { class: "attacks" },
      element("caption", { class: "unseen" }, caption),
      element("thead", {}, element("tr", {}, head, element("th", { class: "plot", "aria-hidden": "true" }, axis()))),
      element("tbody", {}, names.map((name) => row(name, before?.attacks[name]?.auc, after?.attacks[name]?.auc)))));
}

function row(name, before, after) {
  return element("tr", { "data-attack": name },
    element("th", { scope: "row" }, title(name)),
    element("td", { class: "number", "data-moment": "before" }, number(before?.value, 3)),
    element("td", { class: "number interval" }, interval(before, 3)),
    element("td", { class: "number strong", "data-moment": "after" }, number(after?.value, 3)),
    element("td", { class: "number interval" }, interval(after, 3)),
    element("td", { class: "plot", "aria-hidden": "true" }, drawing(
      "svg", { width: WIDTH, height: ROW, viewBox: `0 0 ${WIDTH} ${ROW}` },
      TICKS.map((tick) =>
        drawing("line", { class: tick === 0.5 ? "middle" : "grid", x1: at(tick), x2: at(tick), y1: 0, y2: ROW })),
      before && mark("before", before, ROW / 2 - 6),
      after && mark("after", after, ROW / 2 + 6))));
}

function mark(moment, figure, y) {
  const { low, high, value } = figure;
  return drawing("g", { class: moment },
    low !== null && high !== null && drawing("line", { class: "whisker", x1: at(low), x2: at(high), y1: y, y2: y }),
    drawing("circle", { cx: at(value), cy: y, r: 4 }));
}

function axis() {
  const anchor = (tick) => (tick === 0 ? "start" : tick === 1 ? "end" : "middle");
  return drawing("svg", { width: WIDTH, height: 18, viewBox: `0 0 ${WIDTH} 18` },
    TICKS.map((tick) => drawing("text", { x: at(tick), y: 13, "text-anchor": anchor(tick) }, String(tick))));
}
