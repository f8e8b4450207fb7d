/** Server-sent events through fetch: EventSource cannot send an Authorization header. */

import { TERMINAL } from "./job_status.js";
import { Refused } from "./service.js";
import { sleep } from "./polling.js";

const FIRST_WAIT_SECONDS = 1;
const LONGEST_WAIT_SECONDS = 15;

/** Yields the job's events `{type, data, id}` as they happen, until the job is over; continues after a broken connection.
 *
 * A terminal event with events after it belongs to an attempt before a retry.
 */
export async function* follow(service, job, signal) {
  let last = null;
  let wait = FIRST_WAIT_SECONDS;
  while (!signal.aborted) {
    try {
      const body = await service.stream(`/v1/jobs/${job}/events`, last, signal);
      if (body === null) return; // 204: the job is over, and all its events were received
      let over = false;
      for await (const event of messages(body)) {
        last = event.id ?? last;
        wait = FIRST_WAIT_SECONDS;
        over = TERMINAL.has(event.type);
        yield event;
      }
      if (over) return; // closed by the service itself
    } catch (error) {
      if (signal.aborted) return;
      // a 4xx other than 429 (too many requests) will be the same again
      if (error instanceof Refused && error.status < 500 && error.status !== 429) throw error;
    }
    await sleep(wait, signal);
    wait = Math.min(2 * wait, LONGEST_WAIT_SECONDS);
  }
}

/** Yields the messages of a byte stream (WHATWG HTML, section 9.2.6); comments and messages without data are skipped. */
async function* messages(body) {
  let fields = {};
  for await (const line of lines(body)) {
    if (line === "") {
      if ("data" in fields) yield { type: fields.event ?? "message", data: JSON.parse(fields.data), id: fields.id };
      fields = {};
      continue;
    }
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (name) fields[name] = name === "data" && "data" in fields ? `${fields.data}\n${value}` : value;
  }
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = (pending + value).split(/\r\n|\n|\r(?!$)/);
      pending = parts.pop();
      yield* parts;
    }
  } finally {
    reader.cancel().catch(() => {}); // this fails if the connection is closed already
  }
}
