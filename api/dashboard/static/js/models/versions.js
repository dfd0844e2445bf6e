/** What the pages of models say of a version in few words, and where it is. */

import { $$, h, setText } from "../core/dom.js";
import { age, metres, number, percent, timeElement } from "../core/format.js";

const REFRESH_MS = 30_000;

/** The metrics that versions are told apart by: [key, label, text]. */
export const METRICS = [
  ["median_error_m", "Median error", metres],
  ["mean_error_m", "Mean error", metres],
  ["p90_error_m", "90 % within", metres],
  ["rmse_m", "RMSE", metres],
  ["nll_per_m2", "NLL per m²", (value) => number(value, 3)],
  ["coverage_68", "In the 68 % ellipse", (value) => percent(value, 0)],
  ["energy_score_m", "Energy score", metres],
  ["ence", "ENCE", (value) => number(value, 3)],
];

/** The path of a model, or of one of its versions, in the API. */
export function apiPath(name, version) {
  const path = `/v1/models/${encodeURIComponent(name)}`;
  return version === undefined ? path : `${path}/versions/${version}`;
}

/** The page of a model, or of one of its versions. */
export function pagePath(name, version) {
  const path = `/models/${encodeURIComponent(name)}`;
  return version === undefined ? path : `${path}?version=${version}`;
}

/** The page that compares two versions. */
export function comparePath(name, a, b) {
  return `/models/${encodeURIComponent(name)}/compare?a=${a}&b=${b}`;
}

/** `champion` and `previous` as badges. */
export function aliasBadges(aliases) {
  return aliases.map((alias) => h("span", { class: `badge badge-${alias}` }, alias));
}

/** Whether the served file and all others were verified. */
export function verifiedBadge({ verification, exports }) {
  const stated = [verification, ...exports.map((one) => one.verification)];
  const isVerified = stated.every((one) => one?.passed === true);
  return h("span", { class: isVerified ? "badge badge-ok" : "badge badge-bad" }, isVerified ? "verified" : "not verified");
}

/** A link to a dataset version. */
export function datasetLink({ name, version }) {
  return h("a", { href: `/datasets/${encodeURIComponent(name)}/versions/${version}` }, `${name} v${version}`);
}

/** How long ago something was, kept up to date; the time itself, and a note, are in its title. */
export function agoElement(iso, note = "") {
  const element = timeElement(iso);
  element.title = `${element.textContent}, ${element.title}${note}`;
  element.className = "ago";
  element.textContent = agoText(iso);
  return element;
}

/** Whether an event of the stream is about a model. */
export function isAbout(event, name) {
  return event.name.startsWith("model.") && (name === undefined || event.data.model === name);
}

function agoText(iso) {
  const text = age(iso);
  return text === "now" ? text : `${text} ago`;
}

setInterval(() => $$("time.ago").forEach((element) => setText(element, agoText(element.dateTime))), REFRESH_MS);
