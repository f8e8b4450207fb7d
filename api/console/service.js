/** The service's HTTP interface, used with one API key. The console talks to no other server. */

const MAX_CACHED_ANSWERS = 200;

/** The service refused a request: `status`, and its problem document (RFC 9457) in `problem`. */
export class Refused extends Error {
  constructor(status, problem) {
    const errors = (problem.errors ?? []).map((error) => [error.pointer, error.detail].filter(Boolean).join(" "));
    super([problem.title, problem.detail, errors.join(", ")].filter(Boolean).join(": "));
    this.status = status;
    this.problem = problem;
  }
}

/** There was no answer: the network or the service is down. Another try may help. */
export class Unreachable extends Error {}

export class Service {
  #key;
  #rejected;
  #answers = new Map(); // path -> {etag, body}

  /** `rejected` is called if the key is not valid, or no longer valid. */
  constructor(key, rejected) {
    this.#key = key;
    this.#rejected = rejected;
  }

  /** Returns the JSON at `path`; the same object as before if the service answers that nothing changed (304). */
  async get(path, signal) {
    const cached = this.#answers.get(path);
    const answer = await this.#request(path, { signal, headers: cached ? { "If-None-Match": cached.etag } : {} });
    if (answer.status === 304) return cached.body;
    const body = await answer.json();
    const etag = answer.headers.get("ETag");
    this.#answers.delete(path);
    if (etag) this.#answers.set(path, { etag, body });
    if (this.#answers.size > MAX_CACHED_ANSWERS) this.#answers.delete(this.#answers.keys().next().value);
    return body;
  }

  /** Posts `body` as JSON, if there is a body, and returns the JSON of the answer. */
  async post(path, signal, body) {
    const content = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
    return (await this.#request(path, { method: "POST", signal, ...content })).json();
  }

  /** Returns the bytes of a file that fits into memory. */
  async bytes(path, signal) {
    return (await this.#request(path, { signal })).arrayBuffer();
  }

  /** Returns the body of an event stream: the events after the event `last`, or all events. */
  async stream(path, last, signal) {
    const headers = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) };
    return (await this.#request(path, { signal, headers })).body;
  }

  async #request(path, { method = "GET", headers = {}, body, signal }) {
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
