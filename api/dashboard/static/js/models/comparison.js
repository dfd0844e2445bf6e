/** Two versions side by side: metrics, differences with their intervals, what differs in their making. */

import { get } from "../core/api.js";
import { h, replace, svg } from "../core/dom.js";
import { bytes, metres, number, timeElement } from "../core/format.js";
import { numeric, rowHead, tableOf } from "../result/elements.js";
import { METRICS, aliasBadges, datasetLink, pagePath, verifiedBadge } from "./versions.js";
import { evaluationOffer } from "./verdict.js";

const BAR = { width: 180, height: 26, margin: 8 };
const SHORT = { median_error_m: "median error", mean_error_m: "mean error", nll_per_m2: "NLL" };
const NAMES = { median_error_m: "Median error", mean_error_m: "Mean error", nll_per_m2: "NLL per m²" };

/** Shows a comparison; returns {errors, pairs, changes(jobIds)}: what is filled in later. */
export function showComparison(element, found, { name, versions, onQueued }) {
  const sides = found.versions.map((one) => ({ ...one, whole: versions.find(({ version }) => version === one.version) }));
  const [errors, pairs, differing] = [h("div", { class: "result-body" }), h("div", { class: "result-body" }), h("div")];
  replace(
    element,
    h(
      "div",
      { class: "result" },
      panel("Is one better?", "compare-wide", found.same_sessions ? sharedTable(found) : missing(found.evaluate, onQueued)),
      panel("Errors", "", errors),
      panel("Session by session", "", pairs),
      panel("Each on the test split of its own dataset", "compare-wide", metricsTable(name, sides)),
      differing,
    ),
  );
  return { errors, pairs, changes: (jobIds) => showChanges(differing, jobIds, sides) };
}

function missing(bodies, onQueued) {
  return evaluationOffer(bodies, onQueued) ?? h("p", {}, "They have no test sessions in common.");
}

function sharedTable({ versions, same_sessions: shared }) {
  const [a, b] = versions.map((one) => one.version);
  const numbers = [`Version ${a}`, `Version ${b}`, "Difference", "95 % interval"].map((text) => [text, "numeric"]);
  return [
    h("p", {}, verdictOf(shared, a, b)),
    tableOf("", ["Metric", ...numbers, "", "Better"], shared.differences.map(differenceRow)),
    h(
      "p",
      { class: "hint" },
      `${number(shared.num_sessions)} test sessions of `,
      datasetLink(shared.dataset),
      ` that both were measured on, new to both; ${number(shared.num_resamples)} paired bootstrap draws. `,
      "Sessions of one place err alike, so the intervals are optimistic.",
    ),
  ];
}

function verdictOf({ differences }, a, b) {
  const won = (version) => differences.filter((one) => one.better === version).map(({ metric }) => SHORT[metric] ?? metric);
  const [first, second] = [won(a), won(b)];
  if (!first.length && !second.length) return "No interval leaves out 0: nothing shows that one is better than the other.";
  const told = [[a, first], [b, second]].filter(([, names]) => names.length);
  return `${told.map(([version, names]) => `Version ${version} is better by ${names.join(", ")}`).join("; ")}.`;
}

function differenceRow({ metric, values, difference, interval, better }) {
  const text = metric.endsWith("_m") ? metres : (value) => number(value, 3);
  return h(
    "tr",
    {},
    rowHead(NAMES[metric] ?? metric),
    values.map((value) => numeric(text(value))),
    numeric(signed(difference, text)),
    numeric(`${signed(interval[0], text)} to ${signed(interval[1], text)}`),
    h("td", {}, intervalBar(difference, interval, better !== null)),
    h("td", {}, better === null ? h("span", { class: "hint" }, "not shown") : h("span", { class: "badge badge-ok" }, `v${better}`)),
  );
}

/** The interval about its difference, beside the line of no difference. */
function intervalBar(difference, [low, high], isClear) {
  const from = Math.min(low, 0);
  const to = Math.max(high, 0);
  const x = (value) => BAR.margin + ((value - from) / (to - from || 1)) * (BAR.width - 2 * BAR.margin);
  const middle = BAR.height / 2;
  const { width, height } = BAR;
  return svg(
    "svg",
    { class: ["interval", isClear && "is-clear"], viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" },
    svg("line", { class: "interval-zero", x1: x(0), x2: x(0), y1: 2, y2: height - 2 }),
    svg("line", { class: "interval-range", x1: x(low), x2: x(high), y1: middle, y2: middle }),
    svg("circle", { class: "interval-value", cx: x(difference), cy: middle, r: 4.5 }),
  );
}

function metricsTable(name, sides) {
  const head = sides.map((side) =>
    h("th", { scope: "col" }, h("a", { href: pagePath(name, side.version) }, `Version ${side.version}`), " ", aliasBadges(side.aliases)),
  );
  const facts = [
    ["Trained on", (side) => datasetLink(side.dataset)],
    ["Files", (side) => (side.whole ? verifiedBadge(side.whole) : side.verified ? "verified" : "not verified")],
    ["Served file", ({ whole }) => (whole ? `${bytes(whole.onnx.bytes)}, ${whole.exports[0]?.precision ?? ""}` : "")],
    ["Registered", (side) => timeElement(side.created_at)],
  ];
  const rows = [
    ...METRICS.map(([key, label, text]) => [label, (side) => text(side.metrics[key])]),
    ...facts,
  ];
  const row = ([label, value]) => h("tr", {}, rowHead(label), sides.map((side) => h("td", {}, value(side))));
  return tableOf("", ["", ...head], rows.map(row));
}

async function showChanges(element, jobIds, sides) {
  if (new Set(jobIds).size < 2) return;
  const found = await get("/v1/jobs:compare", { params: { ids: jobIds.join(","), max_points: 2 } }).catch(() => null);
  if (!found) return;
  const differences = found.differences.filter(({ pointer }) => !pointer.startsWith("/tags"));
  const cell = (value) => h("td", {}, h("code", {}, JSON.stringify(value)));
  const row = ({ pointer, values }) => h("tr", {}, rowHead(h("code", {}, pointer)), values.map(cell));
  const head = ["Field", ...sides.map(({ version }) => `Version ${version}`)];
  const body = differences.length ? tableOf("", head, differences.map(row)) : h("p", {}, "Their jobs were asked for the same.");
  element.className = "compare-wide";
  replace(element, panel("What differs in their specifications", "", body));
}

function panel(title, kind, ...content) {
  return h("section", { class: ["panel", "result-part", kind] }, h("h2", {}, title), content);
}

function signed(value, text) {
  return value > 0 ? `+${text(value)}` : text(value).replace("-", "−");
}
