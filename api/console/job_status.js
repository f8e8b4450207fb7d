/** The statuses of a job, as the service's schema names them. */

export const STATUSES = ["queued", "running", "paused", "succeeded", "failed", "cancelled"];

/** Statuses in which a job is over. An event of the same name ends the job's stream. */
export const TERMINAL = new Set(["succeeded", "failed", "cancelled"]);

/** Statuses in which a job's deadline no longer counts. */
export const SETTLED = new Set(["succeeded", "cancelled"]);
