/** The verdict on a job: every bound of its policy, the figure with its interval, the limits, and how that came out. */

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
  shifted_reference_text: "forget and unseen text can be told apart without the model",
  reference_knows_the_text: "the model given as retrained has seen the text to forget",
  not_measured: "the figure was not measured",
};
const SCOPES = {
  verbatim: "the text itself; no questions about what it says were asked",
  facts: "the text, and questions about what it says",
};
const AGAINST = { before: "before", retrained: "a retrained model, or unseen text in its place" };
const YARDSTICKS = {
  before: "before", retrained_model: "the retrained model", unseen_text: "the original on unseen text", chance: "0.5 (guessing)",
};
const MEANING =
  "A bound is passed when the whole interval lies within its limits, failed when it lies outside, underpowered when it " +
  "is too wide to tell. A verdict holds for what was measured; it does not prove that nothing is left.";

/** The elements of the heading and all below it; none where nobody has judged. */
export function verdict(judgement) {
  if (!judgement) return [];
  return [
    element("h2", {}, "Verdict"),
    facts([
      ["Verdict", badge(judgement.verdict)],
      ["Reason", REASONS[judgement.reason] ?? judgement.reason],
      ["Scope", SCOPES[judgement.scope]],
      ["Policy", element("code", {}, judgement.policy)],
    ]),
    table("Bounds of the policy", COLUMNS, judgement.bounds.map(row), { stacks: true }),
    element("p", { class: "faint prose" }, MEANING),
  ];
}

function row(judged) {
  const { bound } = judged;
  const against = bound.against && element("span", { class: "faint" }, `${bound.by} to ${YARDSTICKS[judged.yardstick] ?? AGAINST[bound.against]}`);
  const remarks = [why(judged), aside(judged)].filter(Boolean).map((line) => element("p", { class: "faint" }, line));
  return element("tr", { "data-bound": bound.name, class: judged.carries ? null : "aside" }, cells(COLUMNS, [
    bound.name,
    element("span", { class: "stack" }, figure(bound), against),
    number(judged.value, 3),
    interval(judged, 3),
    limits(judged),
    judged.records === null ? NONE : count(judged.records),
    element("div", {}, badge(judged.result), remarks),
  ]));
}

/** What a bound is about: `extraction strength of forget`, `AUC of attack loss`. */
function figure({ set, figure: name, variant, attack, across, curve, benchmark }) {
  if (attack) return `AUC of attack ${attack}`;
  if (benchmark) return `${words(name)} of ${benchmark}`;
  if (!set) return words(across ?? curve);
  return `${words(name)} of ${set}${variant ? `, ${variant} copy` : ""}`;
}

function limits({ limit_low: low, limit_high: high }) {
  if (low === null) return `at most ${number(high, 3)}`;
  return high === null ? `at least ${number(low, 3)}` : `${number(low, 3)} to ${number(high, 3)}`;
}

function why({ why: reason }) {
  return REASONS[reason] ?? reason;
}

function aside({ carries, bound, records }) {
  if (carries) return null;
  return records !== null && records < bound.judged_from ? `counts from ${bound.judged_from} records on` : "has no part in the verdict";
}
