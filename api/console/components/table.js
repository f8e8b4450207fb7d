/** Tables that scroll in a narrow window, with numbers aligned right. */

import { element } from "../element.js";

/** `columns` are `[heading, kind]`, kind being `number`, `wide` or nothing; `rows` are rows of cells, or elements.
 * `stacks`: whether a narrow window shows each row as a block. */
export function table(caption, columns, rows, { stacks = false } = {}) {
  const head = columns.map(([heading, kind]) => element("th", { scope: "col", class: kind }, heading));
  const body = rows.map((row) => (row instanceof Element ? row : element("tr", {}, cells(columns, row))));
  return (stacks ? stacked : scrollable)(
    caption,
    element("table", {}, element("caption", { class: "unseen" }, caption),
      element("thead", {}, element("tr", {}, head)), element("tbody", {}, body)),
  );
}

export function cells(columns, row) {
  return row.map((cell, index) => element("td", { class: columns[index][1], "data-heading": columns[index][0] }, cell));
}

/** A region whose table shows each row as a block in a narrow window: every cell below its heading. */
export function stacked(label, ...children) {
  const region = scrollable(label, ...children);
  region.classList.add("stacks");
  return region;
}

/** A region that scrolls sideways, by keyboard too. */
export function scrollable(label, ...children) {
  return element("div", { class: "scrollable", tabindex: "0", role: "region", "aria-label": label }, ...children);
}

/** A list of names and values, without the pairs that have no value. */
export function facts(pairs) {
  const filled = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return element("dl", { class: "facts" },
    filled.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}
