/** Saves bytes that the page has fetched with its key as a file of the browser's user. */

import { element } from "./element.js";

export function save(data, name) {
  const address = URL.createObjectURL(new Blob([data]));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // not at once: the download reads from it
}
