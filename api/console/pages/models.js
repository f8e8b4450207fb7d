/** The registered models. */

import { element } from "../element.js";
import { NONE, bytes, count, magnitude, shortId } from "../format.js";
import { badge } from "../components/badge.js";
import { table } from "../components/table.js";
import { time } from "../components/time.js";
import { listing } from "./listing.js";

const COLUMNS = [
  ["Model"], ["Status"], ["Parameters", "number"], ["Context", "number"], ["Head"], ["Policy"],
  ["Digest", "wide"], ["Registered"],
];

export function models(page) {
  return listing(page, {
    title: "Models",
    path: "/v1/models",
    none: "No model is registered yet. Register one with POST /v1/models.",
    draw: (items) => table("Models", COLUMNS, items.map(row)),
  });
}

function row(model) {
  const { shape } = model;
  return [
    element("span", { class: "stack" }, element("strong", {}, model.id),
      shape && element("span", { class: "faint" }, `${shape.architecture}, ${shape.dtype}`)),
    element("span", { class: "stack" }, badge(model.status),
      model.error && element("span", { class: "error" }, model.error)),
    shape
      ? element("span", { class: "stack", title: count(shape.parameters) }, magnitude(shape.parameters),
        element("span", { class: "faint" }, bytes(shape.bytes)))
      : NONE,
    shape?.context ? count(shape.context) : NONE,
    model.head ? element("code", { title: model.head }, shortId(model.head)) : "the base model",
    element("span", { class: "stack" }, element("code", {}, model.policy),
      element("span", { class: "faint" }, model.release === "always" ? "no release needed" : "released if it passes its policy")),
    model.digest ? element("code", { class: "digest" }, model.digest) : NONE,
    time(model.created_at),
  ];
}
