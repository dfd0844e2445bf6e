/** The models, their champions, and how good these are. */

import { may, pages } from "../core/api.js";
import { $, debounce, h, reconcile, replace, showEmpty, showProblem } from "../core/dom.js";
import { follow } from "../core/events.js";
import { metres, number, percent } from "../core/format.js";
import { numeric, rowHead, tableOf } from "../result/elements.js";
import { agoElement, datasetLink, isAbout, pagePath } from "./versions.js";

const HEAD = [
  "Model",
  "Champion",
  ["Median error", "numeric"],
  ["In the 68 % ellipse", "numeric"],
  "Trained on",
  ["Versions", "numeric"],
  "Changed",
];
const PAUSE_MS = 300;
const element = $("#models");
const body = h("tbody");
let isShown = false;

async function load() {
  try {
    const models = [];
    for await (const model of pages("/v1/models", { limit: 500 })) models.push(model);
    show(models);
  } catch (problem) {
    isShown = false;
    showProblem(element, problem, load);
  }
  element.removeAttribute("aria-busy");
}

function show(models) {
  if (!models.length) return empty();
  if (!isShown) replace(element, tableOf("models-table", HEAD, body));
  isShown = true;
  return reconcile(body, models, { key: (model) => model.name, create: () => h("tr"), update });
}

function empty() {
  isShown = false;
  const action = may("jobs:write") ? { href: "/jobs/new", label: "Train a model" } : null;
  showEmpty(element, "No model is registered yet. A training that exports registers one when it ends.", action);
}

function update(row, model) {
  const state = JSON.stringify(model);
  if (row.dataset.state === state) return;
  row.dataset.state = state;
  replace(row, ...cells(model));
}

function cells({ name, champion, num_versions: count, newest_version: newest, updated_at: updated }) {
  const metrics = champion?.metrics ?? {};
  return [
    rowHead(h("a", { href: pagePath(name) }, name)),
    h("td", {}, champion ? championCell(champion, newest) : h("span", { class: "hint" }, "none yet")),
    numeric(metres(metrics.median_error_m)),
    numeric(percent(metrics.coverage_68, 0)),
    h("td", {}, champion ? datasetLink(champion.dataset) : ""),
    numeric(number(count)),
    h("td", { class: "nowrap" }, agoElement(updated)),
  ];
}

function championCell({ version, verified }, newest) {
  return [
    h("span", { class: "badge badge-champion" }, `v${version}`),
    newest > version && h("span", { class: "hint" }, ` newest v${newest}`),
    !verified && h("span", { class: "badge badge-bad" }, "not verified"),
  ];
}

load();
const reload = debounce(load, PAUSE_MS);
if (may("jobs:read")) follow("/v1/events/stream", { onEvent: (event) => isAbout(event) && reload() });
