/** Boxes with a message for the reader. */

import { element } from "../element.js";
import { Refused } from "../service.js";

/** A box with a heading; `tone` is `bad`, `warn` or `calm`. */
export function notice(tone, heading, ...children) {
  return element("section", { class: `notice ${tone}` }, element("h2", {}, heading), ...children);
}

/** The error of a request, and the request's id for the operator of the service. */
export function errorNotice(error, retry) {
  const request = error instanceof Refused && error.problem.instance;
  return element(
    "div",
    { class: "notice bad", role: "alert" },
    element("p", {}, error.message),
    request && element("p", { class: "faint" }, "Request ", element("code", {}, request)),
    retry && element("button", { type: "button", click: retry }, "Try again"),
  );
}
