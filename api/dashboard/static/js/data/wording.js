/** Words for what the catalogue and the datasets say in codes. */

import { h } from "../core/dom.js";
import { metres, number, shortId, words } from "../core/format.js";

const MOST_NAMED = 6;
const FLAGS = {
  incomplete_source: ["source incomplete", "The source lacks its position or its frequency: it cannot train."],
  no_recordings: ["no usable recording", "No recording has a checksum, a byte range and a known format."],
  few_receivers: ["few receivers", "Fewer than 3 receivers recorded it: its position is hardly determined."],
  weak_signal: ["weak signal", "No receiver heard it above 6 dB SNR: its levels say little."],
  unknown_snr: ["SNR not known", "The SNR of at least one recording is not known."],
};

const LEFT_OUT = {
  pending: "are pending: nobody has approved them yet",
  rejected: "are rejected",
  approved: "are approved, which was not asked for",
  incomplete_source: "are of a source without position or frequency",
  no_recordings: "have no recording by the selected receivers",
  unverified_iq: "have only IQ without a checksum or of an unknown format",
  too_few_receivers: "were recorded by too few receivers",
  below_min_snr: "have too few recordings that reach the SNR",
};

const STRATEGIES = {
  spatial_block: (split) => `squares of ${number(split.block_km, 3)} km`,
  source: () => "known sources",
  group: () => "groups of the import",
};

/** What is flagged, each with its meaning on hover; none: "–". */
export function flagList(flags) {
  if (!flags?.length) return h("span", { class: "hint" }, "–");
  return flags.map((flag) => h("span", { class: "badge badge-warn data-flag", title: FLAGS[flag]?.[1] }, flagText(flag)));
}

/** A flag in words. */
export function flagText(flag) {
  return FLAGS[flag]?.[0] ?? words(flag);
}

/** What a flag means, as a sentence. */
export function flagMeaning(flag) {
  return FLAGS[flag]?.[1] ?? "";
}

/** Why sessions were left out, after their number. */
export function leftOutText(reason) {
  return LEFT_OUT[reason] ?? words(reason);
}

/** How a version was divided, with everything that differs from the defaults. */
export function splitText(split) {
  const units = (STRATEGIES[split.strategy] ?? (() => words(split.strategy)))(split);
  const named = ["val_groups", "test_groups"].filter((name) => split[name]?.length);
  const shares = `${number(split.test_fraction * 100)} % test, ${number(split.val_fraction * 100)} % validation`;
  return named.length ? `${units}, named for ${named.map((name) => name.split("_")[0]).join(" and ")}` : `${units}; ${shares}; seed ${split.seed}`;
}

/** The members of a query that restrict, as [what, words or elements]; empty: everything that is approved. */
export function queryFacts(query) {
  const facts = [];
  const add = (name, value) => value && facts.push([name, value]);
  add("Began", timeText(query.started_after, query.started_before));
  add("Frequency", rangeText(query.min_frequency_hz, query.max_frequency_hz));
  add("Region", regionText(query.region));
  add("Receivers", query.receivers?.join(", "));
  add("Heard by", heardText(query));
  add("Sources", listText(query.sources));
  add("Imports", importLinks(query.import_job_ids));
  add("Sessions", query.session_ids && `${number(query.session_ids.length)} by id`);
  return facts;
}

/** The badge of an approval status. */
export function approvalBadge(status) {
  return h("span", { class: `badge badge-${status}` }, status);
}

/** A frequency in MHz. */
export function megahertz(hz) {
  return hz === null || hz === undefined ? "–" : `${number(hz / 1e6, 4)} MHz`;
}

/** A place in degrees. */
export function placeText(latitude, longitude) {
  if (latitude === null || latitude === undefined || longitude === null || longitude === undefined) return "not known";
  const north = latitude >= 0 ? "N" : "S";
  const east = longitude >= 0 ? "E" : "W";
  return `${number(Math.abs(latitude), 5)}° ${north}, ${number(Math.abs(longitude), 5)}° ${east}`;
}

/** "1 session", "1,200 sessions". */
export function count(n, word) {
  return `${number(n)} ${word}${n === 1 ? "" : "s"}`;
}

function timeText(after, before) {
  if (!after && !before) return "";
  const day = (iso) => iso.slice(0, 16).replace("T", " ");
  return [after && `from ${day(after)}`, before && `before ${day(before)}`].filter(Boolean).join(", ") + " UTC";
}

function rangeText(low, high) {
  if (low === null && high === null) return "";
  return [low !== null && `from ${megahertz(low)}`, high !== null && `to ${megahertz(high)}`].filter(Boolean).join(" ");
}

function regionText(region) {
  if (region?.circle) {
    const { latitude, longitude, radius_km: radius } = region.circle;
    return `${metres(radius * 1000)} about ${placeText(latitude, longitude)}`;
  }
  if (!region?.box) return "";
  const box = region.box;
  return `${number(box.min_latitude, 4)}° to ${number(box.max_latitude, 4)}° north, ${number(box.min_longitude, 4)}° to ${number(box.max_longitude, 4)}° east`;
}

function heardText({ min_receivers: least, min_snr_db: snr }) {
  if ((least ?? 1) <= 1 && (snr === null || snr === undefined)) return "";
  const each = snr === null || snr === undefined ? "" : `, each at ${number(snr, 1)} dB SNR or more`;
  return `${count(least ?? 1, "receiver")} or more${each}`;
}

function listText(names) {
  if (!names?.length) return "";
  return names.slice(0, MOST_NAMED).join(", ") + restText(names);
}

function importLinks(ids) {
  if (!ids?.length) return "";
  const links = ids.slice(0, MOST_NAMED).map((id) => h("a", { href: `/jobs/${id}`, class: "mono", title: id }, shortId(id)));
  return [links.flatMap((link, place) => (place ? [", ", link] : [link])), restText(ids)];
}

function restText(names) {
  return names.length > MOST_NAMED ? ` and ${number(names.length - MOST_NAMED)} more` : "";
}
