/** Repeated requests, with pauses between them. */

/** Resolves after `seconds`, or as soon as `signal` is aborted. */
export function sleep(seconds, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

/** Resolves when the tab is visible, or when `signal` is aborted: a tab in the background sends no requests. */
function visible(signal) {
  return new Promise((resolve) => {
    if (!document.hidden || signal.aborted) return resolve();
    const check = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", check);
      resolve();
    };
    document.addEventListener("visibilitychange", check);
    signal.addEventListener("abort", check, { once: true });
  });
}

/** Runs `task` again and again while the tab is visible; the task returns the seconds until the next run. */
export async function repeat(task, signal) {
  while (!signal.aborted) {
    await sleep(await task(), signal);
    await visible(signal);
  }
}

/** Returns a function that runs `task` soon: once for any number of calls, never two runs at a time, `seconds` between runs. */
export function coalesced(task, seconds, signal) {
  let requested = false;
  let busy = false;
  return async function wake() {
    requested = true;
    if (busy) return;
    busy = true;
    while (requested && !signal.aborted) {
      requested = false;
      await task();
      await sleep(seconds, signal);
    }
    busy = false;
  };
}
