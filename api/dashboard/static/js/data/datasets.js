/** The newest version of each dataset. */

import { may, pages } from "../core/api.js";
import { $, h, replace, showEmpty, showProblem } from "../core/dom.js";
import { age, number, timeElement } from "../core/format.js";
import { splitText } from "./wording.js";

const element = $("#datasets");
const HEAD = ["Dataset", "Sessions", "Training", "Validation", "Test", "Positions", "Receivers", "Divided by", "Frozen"];
const NUMERIC = new Set([1, 2, 3, 4, 5, 6]);

async function load() {
  try {
    const found = [];
    for await (const dataset of pages("/v1/datasets", { limit: 200 })) found.push(dataset);
    element.removeAttribute("aria-busy");
    if (found.length) replace(element, table(found));
    else showNothing();
  } catch (problem) {
    showProblem(element, problem, load);
  }
}

function showNothing() {
  const action = may("datasets:write") ? { href: "/datasets/new", label: "Choose sessions" } : null;
  showEmpty(element, ["No dataset yet.", "Import and approve recordings first; then freeze the sessions that shall train."], action);
}

function table(found) {
  const head = HEAD.map((name, place) => h("th", { scope: "col", class: NUMERIC.has(place) ? "numeric" : "" }, name));
  return h("div", { class: "table-wrap" }, h("table", { class: "table" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, found.map(row))));
}

function row(dataset) {
  const { train, val, test } = dataset.counts;
  const cells = [train + val + test, train, val, test, dataset.statistics?.positions, dataset.receivers.length];
  const link = h("a", { href: `/datasets/${encodeURIComponent(dataset.name)}/versions/${dataset.version}` }, dataset.name);
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, link, h("span", { class: "hint" }, ` v${dataset.version}`)),
    cells.map((n) => h("td", { class: "numeric" }, number(n))),
    h("td", {}, splitText(dataset.split)),
    h("td", {}, timeElement(dataset.created_at, `${age(dataset.created_at)} ago`), h("div", { class: "hint" }, dataset.created_by)),
  );
}

load();
