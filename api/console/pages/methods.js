/** The catalogue of methods. */

import { element } from "../element.js";
import { short, words } from "../format.js";
import { table } from "../components/table.js";
import { listing } from "./listing.js";

const COLUMNS = [["Name"], ["Default", "number"], ["Meaning", "wide"]];

export function methods(page) {
  return listing(page, {
    title: "Methods",
    path: "/v1/methods",
    none: "There is no method.",
    draw: (items) => element("div", { class: "catalogue" }, items.map(card)),
  });
}

function card(method) {
  const properties = method.parameters.properties ?? {};
  const rows = Object.entries(method.defaults).map(([name, value]) => [
    element("code", {}, name),
    typeof value === "number" ? short(value) : String(value),
    properties[name]?.description ?? "",
  ]);
  const { title, url } = method.source;
  return element("article", { class: "card", id: `method-${method.name}` },
    element("h2", {}, element("code", {}, method.name)),
    element("p", { class: "prose" }, method.summary),
    element("p", {}, element("code", {}, method.formula)),
    element("p", { class: "needs" }, element("span", { class: "faint" }, "Needs "),
      method.needs.map((need) => element("span", { class: "badge calm" }, words(need)))),
    element("p", { class: "faint" }, "Source: ",
      url.startsWith("https://") ? element("a", { href: url, rel: "noreferrer noopener", target: "_blank" }, title) : title),
    element("details", {}, element("summary", {}, "Parameters"), table(`Parameters of ${method.name}`, COLUMNS, rows)));
}
