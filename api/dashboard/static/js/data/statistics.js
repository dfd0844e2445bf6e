/** What a dataset version holds, or would hold: the same numbers for a version and for a preview. */

import { h } from "../core/dom.js";
import { fixed, metres, number, percent, timeElement } from "../core/format.js";
import { bars, columns, matrix } from "./charts.js";
import { drawMap } from "./map.js";
import { count, megahertz } from "./wording.js";

const SPLITS = [
  ["train", "training"],
  ["val", "validation"],
  ["test", "test"],
];
const MOST_IN_MATRIX = 30;
const NEAR_M = 1000;

/** The large numbers. */
export function figures(found) {
  const all = [
    [found.sessions, "sessions"],
    [found.recordings, "recordings"],
    [found.positions, "positions"],
    [found.sources, "sources"],
    [found.receivers.length, "receivers"],
  ];
  return h("div", { class: "figures" }, all.map(([n, label]) => h("div", {}, h("span", { class: "figure-value" }, number(n)), h("span", { class: "figure-label" }, label))));
}

/** Sizes of the splits, and how far val and test lie from what trains. */
export function splitsTable(found) {
  if (!found.splits) return h("p", { class: "hint" }, "The sessions cannot be divided as asked.");
  const head = ["Split", "Sessions", "Units", "Positions", "To training"];
  const rows = SPLITS.map(([split, label]) => splitRow(label, found.splits[split], found.sessions, found.separation?.[split]));
  return h("div", { class: "table-wrap", tabindex: 0, role: "region", "aria-label": "Splits" }, h("table", { class: "table" }, h("thead", {}, h("tr", {}, head.map((name, place) => h("th", { scope: "col", class: place ? "numeric" : "" }, name)))), h("tbody", {}, rows)));
}

/** Leaks that the numbers show: positions that train and test, and neighbours closer than a kilometre. */
export function leaks(found) {
  const told = SPLITS.slice(1).flatMap(([split, label]) => leakOf(label, found.separation?.[split]));
  if (!found.separation) return null;
  if (!told.length) return h("p", { class: "hint data-after" }, "“To training” is the distance of a position from the nearest one that trains. No position of validation or test trains too.");
  return h("div", { class: "notice notice-warn" }, h("strong", {}, "Splits that lie close to each other"), h("ul", {}, told.map((text) => h("li", {}, text))), h("p", { class: "hint" }, "A test error below these distances says little. Larger squares, or division by source, set them apart."));
}

/** Recordings that are there twice. */
export function duplicates(found) {
  const { sessions, across_splits: across, session_ids: ids } = found.duplicates;
  if (!sessions) return null;
  const links = ids.slice(0, 8).map((id) => h("li", {}, h("a", { href: `/recordings/${id}`, class: "mono" }, id)));
  const head = across ? `${count(across, "session")} share recordings with another split` : `${count(sessions, "session")} share recordings byte for byte, within one split`;
  return h("div", { class: across ? "notice notice-bad" : "notice" }, h("strong", {}, head), h("ul", {}, links));
}

/** Sessions by the number of receivers that recorded them. */
export function heardBy(found) {
  const rows = found.heard_by.map((one) => [count(one.receivers, "receiver"), one.sessions]);
  return rows.length ? bars(rows, { caption: "Sessions by the number of receivers that recorded them" }) : nothing();
}

/** Recordings by SNR. */
export function snrHistogram(found) {
  const { bins, unknown } = found.snr;
  if (!bins.length) return h("p", { class: "hint" }, unknown ? `The SNR of none of ${count(unknown, "recording")} is known.` : "No recording.");
  const from = bins[0].from_db;
  const last = bins.at(-1).from_db;
  const known = new Map(bins.map((bin) => [bin.from_db, bin.recordings]));
  const items = [];
  for (let db = from; db <= last; db += 5) items.push([db, known.get(db) ?? 0, `${db} to ${db + 5} dB: ${count(known.get(db) ?? 0, "recording")}`]);
  const label = `Recordings by SNR, from ${from} to ${last + 5} dB in steps of 5 dB`;
  return [columns(items, { label }), h("p", { class: "hint data-axis" }, unknown ? `dB; ${count(unknown, "recording")} of unknown SNR` : "dB")];
}

/** The receivers, which are the inputs of the network. */
export function receiversTable(found) {
  const most = Math.max(...found.receivers.map((one) => one.recordings), 1);
  const rows = found.receivers.map((one) =>
    h("tr", {}, h("th", { scope: "row" }, one.name), h("td", { class: "numeric" }, number(one.recordings)), h("td", { class: "data-bar-cell" }, h("span", { class: "data-bar", style: { width: `${(100 * one.recordings) / most}%` } })), h("td", { class: "numeric" }, one.median_snr_db === null ? "–" : `${fixed(one.median_snr_db, 1)} dB`)),
  );
  const head = [["Receiver", ""], ["Recordings", "numeric"], ["", ""], ["Median SNR", "numeric"]];
  return h("div", { class: "table-wrap data-scroll", tabindex: 0, role: "region", "aria-label": "Receivers" }, h("table", { class: "table" }, h("thead", {}, h("tr", {}, head.map(([name, style]) => h(name ? "th" : "td", { scope: name ? "col" : null, class: style }, name)))), h("tbody", {}, rows)));
}

/** Which receivers hear the same sessions. */
export function heardTogether(found) {
  const counts = found.heard_together;
  if (!counts || counts.length < 2) return h("p", { class: "hint" }, counts ? "One receiver alone." : "Not kept for this version.");
  if (counts.length > MOST_IN_MATRIX) return h("p", { class: "hint" }, `${number(counts.length)} receivers are too many to draw; the API has the numbers.`);
  return matrix(found.receivers.map((one) => one.name), counts, { caption: "Sessions that two receivers both recorded" });
}

/** The frequencies with the most sessions. */
export function frequencies(found) {
  const rows = found.frequencies.slice(0, 8).map((one) => [megahertz(one.frequency_hz), one.sessions]);
  const rest = found.num_frequencies - rows.length;
  return [rows.length ? bars(rows, { caption: "Sessions by frequency" }) : nothing(), rest > 0 && h("p", { class: "hint" }, `and ${number(rest)} more`)];
}

/** From the first session to the last. */
export function timeRange(found) {
  if (!found.time_range) return "–";
  const { first, last } = found.time_range;
  return [timeElement(first), " to ", timeElement(last)];
}

/** Draws where the sources lie; `receivers` with their places. */
export function drawSources(element, found, receivers) {
  const places = (found.places ?? []).map((place) => ({ ...place, kind: place.split ?? "any", size: place.sessions, title: `${count(place.sessions, "session")}${place.split ? `, ${labelOf(place.split)}` : ""}` }));
  const names = new Set(found.receivers.map((one) => one.name));
  const shown = receivers.filter((one) => names.has(one.name));
  drawMap(element, { places, receivers: shown, label: `Map of ${count(found.positions, "position")} and ${count(shown.length, "receiver")}` });
}

function labelOf(split) {
  return SPLITS.find(([name]) => name === split)[1];
}

function splitRow(label, size, all, separation) {
  const near = separation ? [metres(separation.smallest_m), h("div", { class: "hint" }, `median ${metres(separation.median_m)}`)] : "–";
  const share = h("div", { class: "hint" }, all ? percent(size.sessions / all, 0) : "");
  const cells = [[number(size.sessions), share], number(size.units), number(size.positions), near];
  return h("tr", {}, h("th", { scope: "row" }, h("span", { class: `data-key data-key-${label}` }), label), cells.map((cell) => h("td", { class: "numeric" }, cell)));
}

function leakOf(label, separation) {
  if (!separation) return [];
  if (separation.shared_positions) return [`${count(separation.shared_positions, "position")} of ${label} train too`];
  return separation.smallest_m < NEAR_M ? [`the nearest ${label} position lies ${metres(separation.smallest_m)} from one that trains`] : [];
}

function nothing() {
  return h("p", { class: "hint" }, "Nothing yet.");
}
