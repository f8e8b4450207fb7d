/** The verdict on a job: each bound of its policy, with the figure, its interval, the limits and the result. */

import { element } from "../element.js";
import { NONE, count, number, words } from "../format.js";
import { badge } from "./badge.js";
import { interval } from "./comparison.js";
import { cells, facts, table } from "./table.js";

const COLUMNS = [
  ["Bound"], ["Figure", "subject"], ["Value", "number strong"], ["95 % interval", "number interval"], ["Limits", "number"],
  ["Records", "number faint"], ["Result", "result"],
];
const REASONS = {
  underpowered: "the interval is too wide to tell",
  no_reference_text: "there is no unseen text to compare with",
  shifted_reference_text: "forget and unseen text can be told apart without the model, or a model that was not changed finds the forget text far less likely",
  reference_knows_the_text: "the model that was given as the retrained model knows the text to forget",
  not_measured: "the figure was not measured",
};
const SCOPES = {
  verbatim: "the text itself; no questions about what it says were asked",
  facts: "the text, and questions about what it says",
};
const PARTS = {
  extraction: "whether the text can still be got out",
  membership: "whether it can be told that the model has seen the text",
};
const AGAINST = { before: "the model before the job", retrained: "a retrained model, or unseen text in its place" };
const COMPARED_WITH = {
  before: "the model before the job", retrained_model: "the retrained model", unseen_text: "the model before the job, on unseen text", chance: "0.5 (guessing)",
};
const MEANING =
  "A bound is passed if the whole interval lies within its limits, failed if the whole interval lies outside them, and " +
  "underpowered if the interval is too wide to tell. How much of these very records comes out is known without an " +
  "interval over records. The verdict holds for what was measured. It does not prove that " +
  "nothing is left.";

/** Returns the heading and the elements below it; empty if there is no verdict. */
export function verdict(judgement) {
  if (!judgement) return [];
  return [
    element("h2", {}, "Verdict"),
    facts([
      ["Verdict", badge(judgement.verdict)],
      ["Extraction", part("extraction", judgement)],
      ["Membership", part("membership", judgement)],
      ["Reason", REASONS[judgement.reason] ?? judgement.reason],
      ["Assumes", judgement.assumption],
      ["Scope", SCOPES[judgement.scope]],
      ["Policy", element("code", {}, judgement.policy)],
    ]),
    table("Bounds of the policy", COLUMNS, judgement.bounds.map(row), { stacks: true }),
    element("p", { class: "faint prose" }, MEANING),
  ];
}

/** Returns the verdict on one part and its meaning; null if the policy has no bound of that part. */
function part(name, judgement) {
  const judged = judgement.parts?.[name]; // absent from judgements of older versions, too
  if (!judged) return null;
  const required = judged.required ? null : "not required: too few records, or the policy does not ask for it";
  const remark = [PARTS[name], REASONS[judged.reason] ?? judged.reason, required];
  return element("span", { "data-part": name }, badge(judged.result), element("span", { class: "faint" }, ` ${remark.filter(Boolean).join("; ")}`));
}

function row(judged) {
  const { bound } = judged;
  const alone = bound.high_alone != null && judged.yardstick === null && judged.value !== null;
  const against = bound.against && !alone && element("span", { class: "faint" }, `${comparedBy(bound)} ${COMPARED_WITH[judged.yardstick] ?? AGAINST[bound.against]}`);
  const remarks = [reasonText(judged), asideText(judged)].filter(Boolean).map((line) => element("p", { class: "faint" }, line));
  return element("tr", { "data-bound": bound.name, class: judged.carries ? null : "aside" }, cells(COLUMNS, [
    bound.name,
    element("span", { class: "stack" }, figureName(bound), against),
    number(judged.value, 3),
    interval(judged, 3),
    limits(judged),
    judged.records === null ? NONE : count(judged.records),
    element("div", {}, badge(judged.result), remarks),
  ]));
}

/** The name of a bound's figure: `extraction strength of forget`, `AUC of attack loss`. */
function figureName({ set, figure: name, variant, attack, across, curve, benchmark }) {
  if (attack) return `AUC of attack ${attack}`;
  if (benchmark) return `${words(name)} of ${benchmark}`;
  if (!set) return words(across ?? curve);
  return `${words(name)} of ${set}${variant ? `, ${variant} copy` : ""}`;
}

function comparedBy({ by }) {
  return by === "difference" ? "difference from" : `${by} to`;
}

function limits({ limit_low: low, limit_high: high }) {
  if (low === null) return `at most ${number(high, 3)}`;
  return high === null ? `at least ${number(low, 3)}` : `${number(low, 3)} to ${number(high, 3)}`;
}

function reasonText({ why: reason }) {
  return REASONS[reason] ?? reason;
}

function asideText({ carries, bound, records }) {
  if (carries) return null;
  return records !== null && records < bound.judged_from ? `counts only with ${bound.judged_from} records or more` : "does not count for the verdict";
}
