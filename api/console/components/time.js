/** Times and dates in the reader's time zone, with the exact UTC time as a tooltip. */

import { element } from "../element.js";
import { NONE, daysLeft, exact, moment } from "../format.js";

export function time(value) {
  return value ? element("time", { datetime: value, title: value }, moment(value)) : NONE;
}

export function second(value) {
  return element("time", { datetime: value, title: value }, exact(value));
}

/** A deadline, with the days that are left while the job is not over. */
export function due(date, over) {
  const days = daysLeft(date);
  const number = `${Math.abs(days)} ${Math.abs(days) === 1 ? "day" : "days"}`;
  const left = days < 0 ? `${number} late` : days === 0 ? "today" : `${number} left`;
  return element("span", {}, element("time", { datetime: date }, date),
    !over && element("span", { class: days < 3 ? "error" : "faint" }, ` ${left}`));
}
