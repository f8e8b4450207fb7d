/** A list that the service gives page by page: the pages of models, methods and files use it. */

import { element } from "../element.js";
import { errorNotice } from "../components/notice.js";

/** Shows the list at `path`. `draw(items)` makes an element of all items so far; `none`: the text of an empty list. */
export async function listing({ service, main, signal }, { title, path, draw, none }) {
  document.title = `${title} · Unlearning service`;
  let items = [];
  const list = element("div");
  const problem = element("div");
  const more = element("button", { type: "button", click: next }, "More");
  async function read(after) {
    const query = new URLSearchParams({ limit: 50, ...(after ? { after } : {}) });
    const page = await service.get(`${path}?${query}`, signal);
    items = [...items, ...page.data];
    more.hidden = !page.has_more;
    more.value = page.last_id ?? "";
    list.replaceChildren(items.length > 0 ? draw(items) : element("p", { class: "faint" }, none));
  }
  async function next() {
    try {
      await read(more.value);
      problem.replaceChildren();
    } catch (error) {
      if (!signal.aborted) problem.replaceChildren(errorNotice(error));
    }
  }
  await read(null);
  main.replaceChildren(element("h1", {}, title), list, problem, element("p", { class: "more" }, more));
}
