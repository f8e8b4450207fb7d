/** Values as text for people. */

export const NONE = "–";

const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** A figure with fixed decimals, so that columns line up; a million or more as a power of ten. */
export function number(value, decimals) {
  if (value === null || value === undefined) return NONE;
  if (Math.abs(value) >= 1e6) {
    const [mantissa, exponent] = value.toExponential(1).split("e+");
    return `${mantissa} · 10${[...exponent].map((digit) => SUPERSCRIPT[digit]).join("")}`;
  }
  return value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

/** Four significant digits, for values of unknown size such as losses and learning rates. */
export function short(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e5) return value.toExponential(2).replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

export function count(value) {
  return value === null || value === undefined ? NONE : value.toLocaleString("en");
}

/** 3 700 000 → `3.7 M`. */
export function magnitude(value) {
  return new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value);
}

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, value > 0 ? Math.floor(Math.log2(value) / 10) : 0);
  return `${(value / 1024 ** power).toLocaleString("en", { maximumFractionDigits: power ? 1 : 0 })} ${units[power]}`;
}

export function seconds(value) {
  if (value < 60) return `${value < 10 ? value.toFixed(1) : Math.round(value)} s`;
  const minutes = Math.floor(value / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(value % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const EXACT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export function moment(time) {
  return MOMENT.format(new Date(time));
}

/** A time to the second, for lists whose order matters. */
export function exact(time) {
  return EXACT.format(new Date(time));
}

/** The number of days until a date such as `2026-12-20`; negative if the date is past. */
export function daysLeft(date, now = new Date()) {
  const [year, month, day] = date.split("-").map(Number);
  return Math.round((Date.UTC(year, month - 1, day) - Date.UTC(now.getFullYear(), now.getMonth(), now.getDate())) / 864e5);
}

/** `measuring_before` → `measuring before`. */
export function words(name) {
  return name.replaceAll("_", " ");
}

/** An id shortened to its end, since ids that are made at the same time begin alike. */
export function shortId(id) {
  const [prefix, rest] = id.split("-");
  return rest && rest.length > 10 ? `${prefix}-…${rest.slice(-8)}` : id;
}
