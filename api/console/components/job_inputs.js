/** The inputs of a job: its data sets (digests and counts only) and its settings. */

import { element } from "../element.js";
import { NONE, count, short, words } from "../format.js";
import { facts, table } from "./table.js";

export function dataUsed(job) {
  const columns = [["Set"], ["Kind"], ["Records", "number"], ["Weight", "number"], ["File"], ["sha256", "wide"]];
  return table("Data used", columns, job.data.map((set) => [
    set.name,
    set.kind ? words(set.kind) : NONE,
    count(set.records),
    set.weight === null ? NONE : short(set.weight),
    set.file ? element("code", { class: "digest" }, set.file) : "sent with the request",
    set.sha256
      ? element("code", { class: "digest" }, set.sha256)
      : element("span", { class: "faint" }, "not kept: from the digest of a short text, the text can be guessed"),
  ]));
}

export function settings(job) {
  const text = (value) => (value === null ? NONE : typeof value === "number" ? short(value) : String(value));
  const list = (values) => facts(Object.entries(values).map(([name, value]) => [words(name), text(value)]));
  return element("details", {}, element("summary", {}, "Method and training settings"),
    element("h3", {}, `Method: ${job.method.name}`), list(job.method.parameters),
    element("h3", {}, "Training"), list(job.training));
}
