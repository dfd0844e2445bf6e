/** The page of one model: its versions, everything about one of them, its history. */

import { get, may } from "../core/api.js";
import { $, debounce, h, replace, setText, showEmpty, showProblem } from "../core/dom.js";
import { follow } from "../core/events.js";
import { mountHistory } from "./history.js";
import { versionPanels } from "./version_facts.js";
import { mountVersions } from "./version_table.js";
import { aliasBadges, apiPath, comparePath, isAbout, pagePath } from "./versions.js";

const PAUSE_MS = 300;
const NEAR = "60px";
const name = $("#model").dataset.name;
const notice = $("#notice");
const history = mountHistory($("#history"), $("#history-more"), name);
const state = { model: null, versions: [], chosen: null, shown: null, told: null, head: null };
let table = null;

async function load() {
  try {
    const [model, versions] = await Promise.all([get(apiPath(name)), get(`${apiPath(name)}/versions`)]);
    Object.assign(state, { model, versions: versions.data });
    state.chosen ??= wanted();
    show();
    await history.load();
  } catch (problem) {
    showProblem($("#versions"), problem, load);
    table = null;
  }
  $("#versions").removeAttribute("aria-busy");
}

/** After the button that was pressed has gone, the focus is on what it was about. */
async function changed() {
  await load();
  $("#version-title").focus({ preventScroll: true });
}

/** The version that the address names, else the champion, else the newest. */
function wanted() {
  const asked = Number(new URLSearchParams(location.search).get("version"));
  const numbers = state.versions.map((one) => one.version);
  return numbers.find((one) => one === asked) ?? state.model.champion_version ?? numbers[0] ?? null;
}

function show() {
  const { model, versions } = state;
  showHead(model);
  if (!versions.length) return showEmpty($("#versions"), "No version is registered yet.");
  table ??= mountVersions($("#versions"), $("#comparing"), name, choose);
  table.show(versions, state.chosen);
  return showVersion();
}

function showHead(model) {
  const head = JSON.stringify([model.champion_version, model.previous_version]);
  if (state.head === head) return;
  state.head = head;
  replace($("#aliases"), ...championBadges(model));
  replace($("#actions"), ...modelActions(model));
}

function championBadges({ champion_version: champion, previous_version: previous }) {
  return [
    h("span", { class: champion ? "badge badge-champion" : "badge" }, champion ? `champion v${champion}` : "no champion yet"),
    previous && h("span", { class: "badge" }, `previous v${previous}`),
  ].filter(Boolean);
}

function modelActions(model) {
  const { champion_version: champion, previous_version: previous } = model;
  return [
    may("jobs:write") && champion && action("Train again", () => retrain(champion)),
    may("models:promote") && previous && action(`Roll back to v${previous}`, rollBack),
  ].filter(Boolean);
}

function choose(version) {
  state.chosen = version;
  window.history.pushState(null, "", pagePath(name, version));
  show();
  $("#version").scrollIntoView();
  $("#version-title").focus({ preventScroll: true });
}

function showVersion() {
  const found = state.versions.find((one) => one.version === state.chosen);
  $("#version").hidden = !found;
  if (!found) return;
  const told = JSON.stringify([found.version, found.aliases, found.promotion?.outcome, state.model.champion_version]);
  if (state.told === told) return;
  setText($("#version-title"), `Version ${found.version}`);
  replace($("#version-badges"), ...aliasBadges(found.aliases));
  replace($("#version-actions"), ...versionActions(found));
  const isOther = state.shown !== found.version;
  Object.assign(state, { told, shown: found.version });
  showAll(found, isOther);
}

function versionActions({ version, aliases }) {
  const { champion_version: champion } = state.model;
  const isChampion = aliases.includes("champion");
  return [
    champion && !isChampion && compareLink(champion, version),
    may("models:promote") && !isChampion && action("Promote", () => promote(version), "button-primary"),
    !may("models:promote") && !isChampion && h("span", { class: "hint" }, "Your key may not promote."),
  ].filter(Boolean);
}

async function retrain(champion) {
  (await import("./retraining.js")).askToRetrain(name, champion, notice);
}

async function rollBack() {
  (await import("./promoting.js")).askToRollBack(name, state.model, changed);
}

async function promote(version) {
  (await import("./promoting.js")).askToPromote(name, version, state.model.champion_version, changed);
}

function compareLink(champion, version) {
  const href = comparePath(name, champion, version);
  return h("a", { class: "button button-quiet", href }, "Compare with the champion");
}

/** The evaluation stays where the same version has but another standing. */
async function showAll(found, isOther) {
  const [facts, result] = [$("#version-facts"), h("div", { class: "version-result" })];
  if (isOther) {
    replace($("#version-result"), result);
    replace(facts, ...versionPanels({ ...found, artifacts: [] }));
  }
  const detail = await get(apiPath(name, found.version)).catch(() => null);
  if (state.shown !== found.version || !detail) return;
  replace(facts, ...versionPanels(detail));
  if (!isOther) return;
  if (may("jobs:read") && detail.artifacts.length) whenNear(result, () => showResult(result, found.job_id));
  else hideResult(result);
}

async function showResult(element, jobId) {
  const { mountResult } = await import("../result/result.js");
  element.classList.remove("version-result");
  await mountResult(element, { jobId });
}

/** Whose job it is not gets no files of it, nor its evaluation. */
function hideResult(element) {
  element.classList.remove("version-result");
  replace(element, h("p", { class: "notice" }, "The evaluation is among the files of a job that your key may not see."));
}

/** The evaluation is heavy: it is loaded for who comes near it. */
function whenNear(element, act) {
  const watcher = new IntersectionObserver(
    (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watcher.disconnect();
      act().catch((problem) => showProblem(element, problem, act));
    },
    { rootMargin: NEAR },
  );
  watcher.observe(element);
}

function action(text, act, kind = "") {
  const click = () => act().catch((problem) => showProblem(notice, problem));
  return h("button", { type: "button", class: ["button", kind], on: { click } }, text);
}

addEventListener("popstate", () => {
  state.chosen = wanted();
  show();
});
load();
const reload = debounce(load, PAUSE_MS);
if (may("jobs:read")) follow("/v1/events/stream", { onEvent: (event) => isAbout(event, name) && reload() });
