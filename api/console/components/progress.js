/** The progress of a job: its phases in order, and a bar for the whole job. */

import { element } from "../element.js";
import { seconds, words } from "../format.js";

const PHASES = ["loading", "measuring_before", "unlearning", "saving", "measuring_after", "attacking"];

/** The progress in one line, for a row of a list. */
export function progress(job) {
  if (job.status === "queued") return job.waiting_for ? `waiting for ${job.waiting_for}` : "";
  if (job.status !== "running") return "";
  return element("span", { class: "progress" }, bar(job), element("span", { class: "faint" }, words(job.phase ?? "")));
}

function bar(job) {
  const percent = Math.round(100 * (job.progress?.fraction ?? 0));
  return element("progress", { max: "100", value: percent, "aria-label": "Progress of the job" }, `${percent} %`);
}

/** The job's phases, the share that is done, and the time that the rest may take, for the job's own page. */
export function phases(job) {
  const current = PHASES.indexOf(job.phase);
  const list = PHASES.map((phase, index) =>
    element("li", {
      class: index < current ? "over" : index === current ? "now" : null,
      "aria-current": index === current ? "step" : null,
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
