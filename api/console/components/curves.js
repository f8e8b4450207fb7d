/** The values that the trainer reported for each step: one small chart per curve, losses first, each on its own scale. */

import { drawing, element } from "../element.js";
import { short, words } from "../format.js";

const WIDTH = 340;
const HEIGHT = 150;
const LEFT = 52;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 22;
const MAX_POINTS = 600; // more than two points to a pixel are not visible
const LAST = ["learning_rate", "tokens_per_second"];

export function curves(pointsOf) {
  const rank = (name) => (name === "loss" ? 0 : LAST.includes(name) ? 2 : 1);
  const names = Object.keys(pointsOf).filter((name) => pointsOf[name].length > 0);
  names.sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
  return element("div", { class: "curves" }, names.map((name) => chart(name, pointsOf[name])));
}

/** Every n-th point, and always the last one. */
function thinned(points) {
  const stride = Math.ceil(points.length / MAX_POINTS);
  return points.filter((_, index) => index % stride === 0 || index === points.length - 1);
}

function chart(name, points) {
  const [first, last] = [points[0], points[points.length - 1]];
  const values = points.map(([, value]) => value);
  let low = values.reduce((a, b) => Math.min(a, b));
  let high = values.reduce((a, b) => Math.max(a, b));
  if (low === high) [low, high] = low === 0 ? [-1, 1] : [low - Math.abs(low) / 2, high + Math.abs(high) / 2];
  const x = (step) => LEFT + ((step - first[0]) / (last[0] - first[0] || 1)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + ((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const description = `${words(name)}: ${short(first[1])} at step ${first[0]}, ${short(last[1])} at step ${last[0]}`;
  const line = thinned(points).map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const levels = [high, (low + high) / 2, low];
  return element("figure", { "data-curve": name },
    element("figcaption", {}, words(name), element("output", {}, short(last[1]))),
    drawing("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": description },
      levels.map((level) => [
        drawing("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(level), y2: y(level) }),
        drawing("text", { x: LEFT - 6, y: y(level) + 4, "text-anchor": "end" }, short(Number(level.toPrecision(3)))),
      ]),
      drawing("text", { x: LEFT, y: HEIGHT - 5 }, `step ${first[0]}`),
      drawing("text", { x: WIDTH - RIGHT, y: HEIGHT - 5, "text-anchor": "end" }, String(last[0])),
      drawing("polyline", { points: line }),
      drawing("circle", { cx: x(last[0]), cy: y(last[1]), r: 3 })));
}
