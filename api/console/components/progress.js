/** How far a job is: its phases in order, and a bar over all of them. */

import { element } from "../element.js";
import { seconds, words } from "../format.js";

const PHASES = ["loading", "measuring_before", "unlearning", "saving", "measuring_after", "attacking"];

/** One line for a row of a list. */
export function progress(job) {
  if (job.status === "queued") return job.waiting_for ? `waiting for ${job.waiting_for}` : "";
  if (job.status !== "running") return "";
  return element("span", { class: "progress" }, bar(job), element("span", { class: "faint" }, words(job.phase ?? "")));
}

function bar(job) {
  const percent = Math.round(100 * (job.progress?.fraction ?? 0));
  return element("progress", { max: "100", value: percent, "aria-label": "Progress of the job" }, `${percent} %`);
}

/** The job's phases, how much is done, and how long the rest may take: for a job's own page. */
export function phases(job) {
  const at = PHASES.indexOf(job.phase);
  const list = PHASES.map((phase, index) =>
    element("li", {
      class: index < at ? "over" : index === at ? "now" : null,
      "aria-current": index === at ? "step" : null,
    }, words(phase)));
  const { step, steps, eta } = job.progress ?? {};
  const parts = [
    steps && `step ${step} of ${steps}`,
    job.progress && `${Math.round(100 * job.progress.fraction)} % of the job`,
    eta && `about ${seconds(eta)} left`,
  ];
  const line = parts.filter(Boolean).join(", ") || "loading the model";
  return element("div", { class: "phases" }, element("ol", {}, list), bar(job), element("p", { class: "faint" }, line));
}
