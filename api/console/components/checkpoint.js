/** What a job delivered: the checkpoint, its digest, its files, and how to get them. */

import { element } from "../element.js";
import { NONE, bytes, count } from "../format.js";
import { command } from "./command.js";
import { facts, table } from "./table.js";
import { time } from "./time.js";

const LARGEST_IN_BROWSER = 64 * 1024 * 1024; // a download here passes through the tab's memory

export function checkpoint(service, made, signal) {
  const path = `/v1/checkpoints/${made.id}`;
  const columns = [["File"], ["Size", "number"], ["sha256", "wide"], [""]];
  const rows = made.files.map((file) => [
    element("code", {}, file.path),
    bytes(file.bytes),
    element("code", { class: "digest" }, file.sha256),
    file.bytes <= LARGEST_IN_BROWSER
      ? download(service, path, file, signal)
      : element("span", { class: "faint" }, "by command"),
  ]);
  return element("div", {},
    facts([
      ["Checkpoint", element("code", { class: "digest" }, made.id)],
      ["Digest (sha256)", element("code", { class: "digest" }, made.digest)],
      ["Size", bytes(made.bytes)],
      ["After step", count(made.step)],
      ["Released", made.released ? (made.released_at ? time(made.released_at) : "yes") : "not yet"],
      ["Released by", made.released_by && element("code", { class: "digest" }, made.released_by)],
      ["Made", made.created_at ? time(made.created_at) : NONE],
    ]),
    table("Files of the checkpoint", columns, rows),
    element("h3", {}, "Download all of it"),
    command(`curl -f -H "Authorization: Bearer $UNLEARN_KEY" -o ${made.id}.tar ${location.origin}${path}/archive`));
}

/** A link that fetches the file with the key, checks its sha256 and saves it. */
function download(service, path, file, signal) {
  const said = element("span", { role: "status", class: "faint" });
  const button = element("button", { type: "button", class: "link", "aria-label": `Download ${file.path}` }, "Download");
  button.addEventListener("click", async () => {
    button.disabled = true;
    said.textContent = " …";
    try {
      const data = await service.bytes(`${path}/files/${file.path.split("/").map(encodeURIComponent).join("/")}`, signal);
      said.textContent = ` ${await compare(data, file.sha256)}`;
      save(data, file.path.split("/").at(-1));
    } catch (error) {
      said.textContent = ` ${error.message}`;
    }
    button.disabled = false;
  });
  return element("span", { class: "download" }, button, said);
}

/** Says that the bytes have the sha256 that the checkpoint lists, or throws; browsers hash on https and localhost only. */
async function compare(data, expected) {
  if (!globalThis.crypto?.subtle) return "not checked (no https)";
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  const found = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== expected) throw new Error("damaged on the way: its sha256 is another");
  return "sha256 checked";
}

function save(data, name) {
  const address = URL.createObjectURL(new Blob([data]));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // not at once: the download reads from it
}
