/** What a job was given: its data sets (digests and counts only) and its settings. */

import { element } from "../element.js";
import { NONE, count, short, words } from "../format.js";
import { facts, table } from "./table.js";

export function dataUsed(job) {
  const columns = [["Set"], ["Kind"], ["Records", "number"], ["Weight", "number"], ["File"], ["sha256", "wide"]];
  return table("Data used", columns, job.data.map((one) => [
    one.name,
    one.kind ? words(one.kind) : NONE,
    count(one.records),
    one.weight === null ? NONE : short(one.weight),
    one.file ? element("code", { class: "digest" }, one.file) : "sent with the request",
    one.sha256
      ? element("code", { class: "digest" }, one.sha256)
      : element("span", { class: "faint" }, "not kept: a short text's digest can be guessed"),
  ]));
}

export function settings(job) {
  const written = (value) => (value === null ? NONE : typeof value === "number" ? short(value) : String(value));
  const shown = (values) => facts(Object.entries(values).map(([name, value]) => [words(name), written(value)]));
  return element("details", {}, element("summary", {}, "Method and training settings"),
    element("h3", {}, `Method: ${job.method.name}`), shown(job.method.parameters),
    element("h3", {}, "Training"), shown(job.training));
}
