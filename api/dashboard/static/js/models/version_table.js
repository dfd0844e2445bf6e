/** The versions of a model in a table: choose one to see all of it, or two to compare them. */

import { h, reconcile, replace } from "../core/dom.js";
import { metres, number, percent } from "../core/format.js";
import { numeric, rowHead, tableOf } from "../result/elements.js";
import { agoElement, aliasBadges, comparePath, datasetLink, pagePath, verifiedBadge } from "./versions.js";

const HEAD = [
  "Compare",
  "Version",
  ["Median error", "numeric"],
  ["90 % within", "numeric"],
  ["NLL per m²", "numeric"],
  ["68 % ellipse", "numeric"],
  "Files",
  "Trained on",
  "Made",
];

/** Builds the table; returns {show(versions, chosen)}; `onChoose(version)` when a version is asked for. */
export function mountVersions(element, comparing, name, onChoose) {
  const body = h("tbody");
  const picked = new Set();
  replace(element, tableOf("versions-table", HEAD, body));
  const table = { body, picked, comparing, name, onChoose };
  tellPicked(table);
  return { show: (versions, chosen) => show(table, versions, chosen) };
}

function show(table, versions, chosen) {
  const least = Math.min(...versions.map((one) => one.metrics.median_error_m ?? Infinity));
  reconcile(table.body, versions, {
    key: (one) => one.version,
    create: () => h("tr"),
    update: (row, one) => update(table, row, one, { isChosen: one.version === chosen, isBest: one.metrics.median_error_m === least }),
  });
}

function update(table, row, one, { isChosen, isBest }) {
  row.classList.toggle("is-chosen", isChosen);
  const state = JSON.stringify([one.aliases, one.promotion?.outcome, isChosen, isBest]);
  if (row.dataset.state === state) return;
  row.dataset.state = state;
  replace(row, ...cells(table, one, isChosen, isBest));
}

function cells(table, one, isChosen, isBest) {
  const { metrics } = one;
  return [
    h("td", {}, pickBox(table, one.version)),
    rowHead(h("span", { class: "version-name" }, versionLink(table, one, isChosen), aliasBadges(one.aliases))),
    numeric(metres(metrics.median_error_m), isBest && "is-best"),
    numeric(metres(metrics.p90_error_m)),
    numeric(number(metrics.nll_per_m2, 2)),
    numeric(percent(metrics.coverage_68, 0)),
    h("td", {}, h("span", { class: "version-name" }, verifiedBadge(one), h("span", { class: "hint" }, precisions(one)))),
    h("td", {}, datasetLink(one.dataset)),
    h("td", { class: "nowrap" }, agoElement(one.created_at, `, by ${one.created_by}`)),
  ];
}

function pickBox(table, version) {
  const box = h("input", { type: "checkbox", "aria-label": `Compare version ${version}`, checked: table.picked.has(version) });
  box.addEventListener("change", () => {
    if (box.checked) table.picked.add(version);
    else table.picked.delete(version);
    tellPicked(table);
  });
  return box;
}

function tellPicked({ picked, comparing, name }) {
  const [a, b] = [...picked].sort((one, other) => one - other);
  if (picked.size === 2) replace(comparing, h("a", { class: "button", href: comparePath(name, a, b) }, `Compare versions ${a} and ${b}`));
  else replace(comparing, h("span", { class: "hint" }, "Tick two versions to compare them."));
}

function versionLink({ name, onChoose }, { version }, isChosen) {
  const link = h("a", { href: pagePath(name, version), "aria-current": isChosen && "true" }, `Version ${version}`);
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    onChoose(version);
  });
  return link;
}

function precisions({ exports }) {
  return [...new Set(exports.map((one) => one.precision))].join(", ");
}
