/** Why a job failed, and what a person can do about it. */

import { element } from "../element.js";
import { notice } from "./notice.js";

const ASK = "give the job's id to whoever runs the service";

function advice({ blame, retryable }, attempts) {
  const tried = attempts > 1 ? ` The service tried ${attempts} times.` : "";
  if (blame === "user") {
    return retryable
      ? "Try the job again once what the message names has changed."
      : "Change what the message names and submit a new job: this one would fail in the same way again.";
  }
  return retryable
    ? `Nothing is wrong with the request.${tried} Try it again; if that fails too, ${ASK}.`
    : `Nothing is wrong with the request, and trying again will not help: ${ASK}.`;
}

export function fault(job) {
  return notice("bad", "This job failed",
    element("p", {}, job.error.message),
    element("p", {}, element("strong", {}, "What to do: "), advice(job.error, job.attempts)),
    element("p", { class: "faint" }, "Code ", element("code", {}, job.error.code)));
}
