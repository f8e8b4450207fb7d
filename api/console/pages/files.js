/** The uploaded files: facts about them, never their content. */

import { element } from "../element.js";
import { bytes, count, shortId } from "../format.js";
import { table } from "../components/table.js";
import { time } from "../components/time.js";
import { listing } from "./listing.js";

const COLUMNS = [
  ["Name"], ["Purpose"], ["Records", "number"], ["Size", "number"], ["Uploaded"], ["Deleted after"], ["Id"],
  ["sha256", "wide"],
];

export function files(page) {
  return listing(page, {
    title: "Files",
    path: "/v1/files",
    none: "No file is uploaded yet. Upload one with POST /v1/files.",
    draw: (items) => table("Files", COLUMNS, items.map(row)),
  });
}

function row(file) {
  return [
    element("span", { class: "stack" }, element("strong", {}, file.filename),
      element("span", { class: "faint" }, readAs(file)),
      ...(file.understood?.warnings ?? []).map((warning) => element("span", { class: "faint" }, warning))),
    file.purpose,
    count(file.records),
    bytes(file.bytes),
    time(file.created_at),
    time(file.expires_at),
    element("code", { title: file.id }, shortId(file.id)),
    element("code", { class: "digest" }, file.sha256),
  ];
}

/** How the file was read: "csv, gzip, Windows-1252, semicolon, question and answer". */
function readAs({ format, understood }) {
  const { compression, encoding, separator, shapes = [] } = understood ?? {};
  return [format, compression, encoding, separator, ...shapes].filter(Boolean).join(", ");
}
