/** The service's own HTTP interface, as one key sees it. Nothing else is ever talked to. */

const REMEMBERED_ANSWERS = 200;

/** The service said no: `status`, and its problem document (RFC 9457) in `problem`. */
export class Refused extends Error {
  constructor(status, problem) {
    const errors = (problem.errors ?? []).map((one) => [one.pointer, one.detail].filter(Boolean).join(" "));
    super([problem.title, problem.detail, errors.join(", ")].filter(Boolean).join(": "));
    this.status = status;
    this.problem = problem;
  }
}

/** No answer at all: the network or the service is down; trying again may help. */
export class Unreachable extends Error {}

export class Service {
  #key;
  #rejected;
  #answers = new Map(); // path -> {etag, body}

  /** `rejected` is called when the key is not, or no longer, valid. */
  constructor(key, rejected) {
    this.#key = key;
    this.#rejected = rejected;
  }

  /** The JSON at `path`; the very same object again where the service says that nothing changed (304). */
  async get(path, signal) {
    const known = this.#answers.get(path);
    const answer = await this.#ask(path, { signal, headers: known ? { "If-None-Match": known.etag } : {} });
    if (answer.status === 304) return known.body;
    const body = await answer.json();
    const etag = answer.headers.get("ETag");
    this.#answers.delete(path);
    if (etag) this.#answers.set(path, { etag, body });
    if (this.#answers.size > REMEMBERED_ANSWERS) this.#answers.delete(this.#answers.keys().next().value);
    return body;
  }

  /** `body`, where there is one, is sent as JSON. */
  async post(path, signal, body) {
    const sent = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
    return (await this.#ask(path, { method: "POST", signal, ...sent })).json();
  }

  /** The bytes of a file; only for what fits into memory. */
  async bytes(path, signal) {
    return (await this.#ask(path, { signal })).arrayBuffer();
  }

  /** The body of an event stream, after the event `last` where there was one. */
  async stream(path, last, signal) {
    const headers = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) };
    return (await this.#ask(path, { signal, headers })).body;
  }

  async #ask(path, { method = "GET", headers = {}, body, signal }) {
    let answer;
    try {
      answer = await fetch(path, {
        method,
        body,
        signal,
        cache: "no-store", // neither figures nor checkpoints belong in the browser's cache on disk
        credentials: "omit",
        redirect: "error",
        headers: { Authorization: `Bearer ${this.#key}`, ...headers },
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Unreachable("The service does not answer");
    }
    if (answer.ok || answer.status === 304) return answer;
    const problem = await answer.json().catch(() => ({ title: answer.statusText }));
    if (answer.status === 401) this.#rejected();
    throw new Refused(answer.status, problem);
  }
}
