/** Moments and dates, in the reader's time zone, with the exact UTC time at hand. */

import { element } from "../element.js";
import { NONE, daysLeft, exact, moment } from "../format.js";

export function time(value) {
  return value ? element("time", { datetime: value, title: value }, moment(value)) : NONE;
}

export function second(value) {
  return element("time", { datetime: value, title: value }, exact(value));
}

/** A date by which something must be done; how many days are left only while it is not. */
export function due(date, over) {
  const days = daysLeft(date);
  const left = days < 0 ? `${-days} days late` : days === 0 ? "today" : `${days} days left`;
  return element("span", {}, element("time", { datetime: date }, date),
    !over && element("span", { class: days < 3 ? "error" : "faint" }, ` ${left}`));
}
