/** The time, speed, memory and arithmetic that the job took, in one line. */

import { element } from "../element.js";
import { bytes, magnitude, seconds, short } from "../format.js";

const SPEEDS = { unlearning: "in training", measuring: "in measuring" };

/** `cost` as `/metrics` gives it; empty while it is not known. */
export function cost(cost) {
  if (!cost) return [];
  const total = (parts) => Object.values(parts).reduce((sum, part) => sum + part, 0);
  const speeds = cost.tokens_per_second;
  const device = cost.peak_device_bytes === null ? "" : ` and ${bytes(cost.peak_device_bytes)} on the device`;
  const items = [
    seconds(total(cost.seconds)),
    ...Object.entries(SPEEDS).filter(([activity]) => activity in speeds)
      .map(([activity, words]) => `${magnitude(speeds[activity])} tokens/s ${words}`),
    `${bytes(cost.peak_host_bytes)} of memory${device} at its peak`,
  ];
  const flops = total(cost.flops);
  if (flops > 0) items.push(`${short(flops)} model FLOPs (${share(cost.retraining_share)})`);
  return [element("p", { class: "faint" }, `Cost: ${items.join(", ")}.`)];
}

function share(part) {
  return part === null ? "share of a retraining unknown" : `${short(100 * part)} % of a retraining`;
}
