/** Quantities as people read them. */

const DASH = "–";
const UNITS = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
  [1, "s"],
];
const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB"];
const LOCAL = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const NUMBERS = new Map();

/** The two largest units: "3 min 20 s"; below 10 s with a tenth. */
export function duration(seconds) {
  if (!isNumber(seconds)) return DASH;
  if (seconds > 0 && seconds < 0.1) return "< 0.1 s";
  if (seconds > 0 && seconds < 9.95) return `${number(seconds, 1)} s`;
  let left = Math.max(Math.round(seconds), 0);
  const parts = [];
  for (const [size, unit] of UNITS) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count || (unit === "s" && !parts.length)) parts.push(`${count} ${unit}`);
    else if (parts.length) break;
  }
  return parts.slice(0, 2).join(" ");
}

/** How long ago, in its largest unit: "5 min"; below a second "now". */
export function age(iso) {
  if (!iso) return DASH;
  const seconds = Math.max(0, (Date.now() - Date.parse(iso)) / 1000);
  if (seconds < 1) return "now";
  const [size, unit] = UNITS.find(([one]) => seconds >= one);
  return `${Math.floor(seconds / size)} ${unit}`;
}

/** A <time> in the local zone whose title is UTC. */
export function timeElement(iso, text) {
  const element = document.createElement("time");
  if (!iso) {
    element.textContent = DASH;
    return element;
  }
  element.dateTime = iso;
  element.title = utc(iso);
  element.textContent = text ?? LOCAL.format(new Date(iso));
  return element;
}

/** "2026-03-01 12:00:00 UTC". */
export function utc(iso) {
  return `${new Date(iso).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** Decimal units: "1.5 GB". */
export function bytes(n) {
  if (!isNumber(n)) return DASH;
  let value = n;
  let unit = 0;
  while (Math.abs(value) >= 999.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${number(value, unit && value < 100 ? 1 : 0)} ${BYTE_UNITS[unit]}`;
}

/** A number with at most `digits` decimals, its thousands set apart; tiny ones with significant digits. */
export function number(x, digits = 0) {
  if (!isNumber(x)) return DASH;
  if (x !== 0 && digits > 0 && Math.abs(x) < 10 ** -digits) return String(Number(x.toPrecision(2)));
  return formatter(0, digits).format(x);
}

/** A number with exactly `digits` decimals, so that a column of them lines up. */
export function fixed(x, digits) {
  return isNumber(x) ? formatter(digits, digits).format(x) : DASH;
}

/** Metres below a kilometre, else kilometres with one decimal: "840 m", "54.0 km". */
export function metres(m) {
  if (!isNumber(m)) return DASH;
  const size = Math.abs(m);
  if (size < 999.5) return `${number(m, size < 10 ? 1 : 0)} m`;
  return `${fixed(m / 1000, size < 999_950 ? 1 : 0)} km`;
}

/** A fraction as percent: 0.684 is "68.4 %". */
export function percent(x, digits = 1) {
  return isNumber(x) ? `${number(x * 100, digits)} %` : DASH;
}

/** The type and the first characters of an id: "job_x4r2k7ab". */
export function shortId(id) {
  if (!id) return DASH;
  const cut = id.indexOf("_") + 1;
  return id.slice(0, cut + 8);
}

/** Words of a code: "accelerator_busy" is "accelerator busy". */
export function words(code) {
  return (code ?? "").replaceAll("_", " ");
}

/** Made once for each pair of digits: making one takes longer than a thousand uses. */
function formatter(least, most) {
  const key = `${least} ${most}`;
  if (!NUMBERS.has(key)) NUMBERS.set(key, new Intl.NumberFormat("en-GB", { minimumFractionDigits: least, maximumFractionDigits: most }));
  return NUMBERS.get(key);
}

function isNumber(x) {
  return typeof x === "number" && Number.isFinite(x);
}
