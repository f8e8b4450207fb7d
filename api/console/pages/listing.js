/** A list that the service gives page by page: the pages of models, methods, files and webhooks use it. */

import { element } from "../element.js";
import { errorNotice } from "../components/notice.js";

/** Shows the list at `path`, of the items that match `filter`. `draw(items)` makes an element of all items so far; `none`: the
 * text of an empty list; `controls`: elements beside the heading. */
export async function listing({ service, main, signal }, { title, path, draw, none, filter = {}, controls = [] }) {
  document.title = `${title} · Unlearning service`;
  let items = [];
  const list = element("div");
  const problem = element("div");
  const more = element("button", { type: "button", click: next }, "More");
  async function read(after) {
    const query = new URLSearchParams({ ...filter, limit: 50, ...(after ? { after } : {}) });
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
  main.replaceChildren(element("div", { class: "heading" }, element("h1", {}, title), controls), list, problem, element("p", { class: "more" }, more));
}
