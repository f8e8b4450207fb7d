/** A list of the service, page by page: what models, methods and files share. */

import { element } from "../element.js";
import { alarm } from "../components/notice.js";

/** Shows `path`'s list; `draw(items)` makes one element of all items so far. */
export async function listing({ service, main, signal }, { title, path, draw, none }) {
  document.title = `${title} · Unlearning service`;
  let items = [];
  const list = element("div");
  const trouble = element("div");
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
      trouble.replaceChildren();
    } catch (error) {
      if (!signal.aborted) trouble.replaceChildren(alarm(error));
    }
  }
  await read(null);
  main.replaceChildren(element("h1", {}, title), list, trouble, element("p", { class: "more" }, more));
}
