/** When to look again. */

/** Resolves after so many seconds, or at once when `signal` is aborted. */
export function rest(seconds, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

/** Resolves when the tab is looked at, or when `signal` is aborted: nobody's background tab asks the service. */
function seen(signal) {
  return new Promise((resolve) => {
    if (!document.hidden || signal.aborted) return resolve();
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look, { once: true });
  });
}

/** Runs `task` again and again while the tab is looked at; the task returns the seconds until the next time. */
export async function repeat(task, signal) {
  while (!signal.aborted) {
    await rest(await task(), signal);
    await seen(signal);
  }
}

/** A function that runs `task` soon, once for however many calls, never twice at a time, with `seconds` in between. */
export function coalesced(task, seconds, signal) {
  let wanted = false;
  let busy = false;
  return async function wake() {
    wanted = true;
    if (busy) return;
    busy = true;
    while (wanted && !signal.aborted) {
      wanted = false;
      await task();
      await rest(seconds, signal);
    }
    busy = false;
  };
}
