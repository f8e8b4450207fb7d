/** The checkpoint that a job delivered: its digest, its files, and how to download them. */

import { element } from "../element.js";
import { NONE, bytes, count } from "../format.js";
import { save } from "../save.js";
import { command } from "./command.js";
import { facts, table } from "./table.js";
import { time } from "./time.js";

const LARGEST_IN_BROWSER = 64 * 1024 * 1024; // a download here passes through the tab's memory

export function checkpoint(service, checkpoint, signal) {
  const path = `/v1/checkpoints/${checkpoint.id}`;
  const columns = [["File"], ["Size", "number"], ["sha256", "wide"], [""]];
  const rows = checkpoint.files.map((file) => [
    element("code", {}, file.path),
    bytes(file.bytes),
    element("code", { class: "digest" }, file.sha256),
    file.bytes <= LARGEST_IN_BROWSER
      ? download(service, path, file, signal)
      : element("span", { class: "faint" }, "too large for the browser: use the command below"),
  ]);
  return element("div", {},
    facts([
      ["Checkpoint", element("code", { class: "digest" }, checkpoint.id)],
      ["Digest (sha256)", element("code", { class: "digest" }, checkpoint.digest)],
      ["Size", bytes(checkpoint.bytes)],
      ["After step", count(checkpoint.step)],
      ["Released", checkpoint.released ? (checkpoint.released_at ? time(checkpoint.released_at) : "yes") : "not yet"],
      ["Released by", checkpoint.released_by && element("code", { class: "digest" }, checkpoint.released_by)],
      ["Created", checkpoint.created_at ? time(checkpoint.created_at) : NONE],
    ]),
    table("Files of the checkpoint", columns, rows),
    element("h3", {}, "Download all files"),
    command(`curl -f -H "Authorization: Bearer $UNLEARN_KEY" -o ${checkpoint.id}.tar ${location.origin}${path}/archive`));
}

/** A button that downloads the file with the key, checks its sha256 and saves it. */
function download(service, path, file, signal) {
  const message = element("span", { role: "status", class: "faint" });
  const button = element("button", { type: "button", class: "link", "aria-label": `Download ${file.path}` }, "Download");
  button.addEventListener("click", async () => {
    button.disabled = true;
    message.textContent = " …";
    try {
      const data = await service.bytes(`${path}/files/${file.path.split("/").map(encodeURIComponent).join("/")}`, signal);
      message.textContent = ` ${await checkDigest(data, file.sha256)}`;
      save(data, file.path.split("/").at(-1));
    } catch (error) {
      message.textContent = ` ${error.message}`;
    }
    button.disabled = false;
  });
  return element("span", { class: "download" }, button, message);
}

/** Returns the result of the check of the sha256 that the checkpoint lists; throws if it differs. Browsers compute sha256 on
 * https and localhost only. */
async function checkDigest(data, expected) {
  if (!globalThis.crypto?.subtle) return "sha256 not checked: browsers check it on https only";
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  const actual = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (actual !== expected) throw new Error("The download is damaged: its sha256 differs from the listed one; the file was not saved");
  return "sha256 checked";
}
