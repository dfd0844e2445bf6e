/** The page that puts two versions of a model side by side. */

import { get, may } from "../core/api.js";
import { $, h, replace, showEmpty, showProblem } from "../core/dom.js";
import { follow } from "../core/events.js";
import { drawErrors } from "../result/curves.js";
import { showComparison } from "./comparison.js";
import { readPair } from "./pairs.js";
import { drawPairs } from "./scatter.js";
import { apiPath, comparePath, isAbout } from "./versions.js";

const name = $("#model").dataset.name;
const element = $("#comparison");
const state = { model: null, versions: [], a: null, b: null };

async function load() {
  try {
    const [model, versions] = await Promise.all([get(apiPath(name)), get(`${apiPath(name)}/versions`)]);
    Object.assign(state, { model, versions: versions.data });
    readSides();
    showSides();
    await compare();
  } catch (problem) {
    showProblem(element, problem, load);
  }
  element.removeAttribute("aria-busy");
}

/** From the address; what is missing is the champion, or the newest that is not the other. */
function readSides() {
  const asked = new URLSearchParams(location.search);
  const numbers = state.versions.map((one) => one.version);
  const given = (side) => numbers.find((one) => one === Number(asked.get(side))) ?? null;
  const other = (than) => [state.model.champion_version, ...numbers].find((one) => one !== null && one !== than) ?? null;
  [state.a, state.b] = [given("a"), given("b")];
  state.a ??= other(state.b);
  state.b ??= numbers.find((one) => one !== state.a) ?? null;
}

function showSides() {
  const swap = h("button", { type: "button", class: "button button-quiet", on: { click: () => change(state.b, state.a) } }, "Swap");
  const against = h("span", { class: "sides-against", "aria-hidden": "true" }, "against");
  replace($("#sides"), side("a", "First"), against, side("b", "Second"), swap);
}

function side(which, label) {
  const select = h("select", { id: `side-${which}` }, state.versions.map((one) => option(one, state[which])));
  select.addEventListener("change", () => {
    const picked = Number(select.value);
    const same = picked === state[which === "a" ? "b" : "a"];
    if (which === "a") change(picked, same ? state.a : state.b);
    else change(same ? state.b : state.a, picked);
  });
  return h("div", { class: "side" }, h("label", { for: `side-${which}` }, label), select);
}

function option({ version, aliases }, chosen) {
  const text = [`Version ${version}`, ...aliases].join(", ");
  return h("option", { value: version, selected: version === chosen }, text);
}

function change(a, b) {
  Object.assign(state, { a, b });
  window.history.pushState(null, "", comparePath(name, a, b));
  showSides();
  compare().catch((problem) => showProblem(element, problem, load));
}

async function compare() {
  const { a, b } = state;
  if (b === null) return showEmpty(element, "A comparison takes two versions; there is one.");
  const found = await get(`${apiPath(name)}:compare`, { params: { versions: `${a},${b}` } });
  if (a !== state.a || b !== state.b) return null;
  const parts = showComparison(element, found, { name, versions: state.versions, onQueued: watchEvaluations });
  return may("jobs:read") ? showSessions(parts, found) : null;
}

async function showSessions({ errors, pairs, changes }, found) {
  const chosen = [state.a, state.b].map((version) => state.versions.find((one) => one.version === version));
  const pair = await readPair(found, chosen);
  if (!pair) return showEmpty(errors, "The errors of single sessions belong to jobs that your key may not see, or were not kept.");
  drawErrors(errors, pair.curves);
  if (pair.common.length) drawPairs(pairs, pair);
  else showEmpty(pairs, "They have no test session in common.");
  return changes(chosen.map((one) => one.job_id));
}

/** Compares again when one of the jobs has ended. */
function watchEvaluations(jobs) {
  const left = new Set(jobs.map((job) => job.id));
  const stream = follow("/v1/events/stream", {
    onEvent: ({ data, name: event }) => {
      if (!/^job\.(succeeded|failed|cancelled)$/.test(event) || !left.delete(data.job_id) || left.size) return;
      stream.close();
      compare().catch((problem) => showProblem(element, problem, load));
    },
  });
}

addEventListener("popstate", () => {
  readSides();
  showSides();
  compare().catch((problem) => showProblem(element, problem, load));
});
load();
if (may("jobs:read")) follow("/v1/events/stream", { onEvent: (event) => isAbout(event, name) && load() });
