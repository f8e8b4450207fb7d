/** Why a job failed, and what a person can do about it. */

import { element } from "../element.js";
import { notice } from "./notice.js";

const ASK_OPERATOR = "give the job's id to the operator of the service";

function advice({ blame, retryable }, attempts) {
  const tried = attempts > 1 ? ` The service tried ${attempts} times.` : "";
  if (blame === "user") {
    return retryable
      ? "Change what the message above names, then try the job again."
      : "Change what the message above names and submit a new job: this job would fail again in the same way.";
  }
  return retryable
    ? `Nothing is wrong with the request.${tried} Try it again; if that fails too, ${ASK_OPERATOR}.`
    : `Nothing is wrong with the request, and trying again will not help: ${ASK_OPERATOR}.`;
}

export function jobError(job) {
  return notice("bad", "This job failed",
    element("p", {}, job.error.message),
    element("p", {}, element("strong", {}, "What to do: "), advice(job.error, job.attempts)),
    element("p", { class: "faint" }, "Code ", element("code", {}, job.error.code)));
}
