/** What the job took, in one line. */

import { element } from "../element.js";
import { bytes, magnitude, seconds, short } from "../format.js";

const SPEEDS = { unlearning: "in training", measuring: "in measuring" };

/** `cost` as `/metrics` has it; nothing where it is not known yet. */
export function cost(cost) {
  if (!cost) return [];
  const total = (parts) => Object.values(parts).reduce((sum, one) => sum + one, 0);
  const speeds = cost.tokens_per_second;
  const device = cost.peak_device_bytes === null ? "" : ` and ${bytes(cost.peak_device_bytes)} on the device`;
  const said = [
    seconds(total(cost.seconds)),
    ...Object.entries(SPEEDS).filter(([of]) => of in speeds).map(([of, words]) => `${magnitude(speeds[of])} tokens/s ${words}`),
    `${bytes(cost.peak_host_bytes)} of memory${device} at its peak`,
  ];
  const flops = total(cost.flops);
  if (flops > 0) said.push(`${short(flops)} model FLOPs (${share(cost.retraining_share)})`);
  return [element("p", { class: "faint" }, `Cost: ${said.join(", ")}.`)];
}

function share(of) {
  return of === null ? "share of a retraining unknown" : `${short(100 * of)} % of a retraining`;
}
