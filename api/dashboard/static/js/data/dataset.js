/** One dataset version: what it holds, how it was chosen and divided, and what was made of it. */

import { get, may } from "../core/api.js";
import { $, h, replace, setText, showProblem } from "../core/dom.js";
import { age, metres, shortId, timeElement } from "../core/format.js";
import { statusBadge } from "../core/jobs.js";
import { drawSources, figures, frequencies, heardBy, heardTogether, leaks, receiversTable, snrHistogram, splitsTable, timeRange } from "./statistics.js";
import { queryFacts, splitText } from "./wording.js";

const root = $("#dataset");
const { name, version } = root.dataset;
const path = `/v1/datasets/${encodeURIComponent(name)}`;

async function start() {
  try {
    const found = await get(version ? `${path}/versions/${version}` : path);
    show(found);
    loadVersions(found);
    if (may("jobs:read")) loadUses(found);
  } catch (problem) {
    replace($("#body"));
    showProblem($("#trouble"), problem, problem.status === 404 ? null : () => location.reload());
  }
}

function show(found) {
  setText($("#version"), `v${found.version}`);
  document.title = `${found.name} v${found.version} · Heimdall`;
  replace($("#actions"), actions(found));
  const body = $("#body");
  body.removeAttribute("aria-busy");
  const statistics = found.statistics;
  if (!statistics) return void replace(body, origin(found), h("p", { class: "notice" }, "This version was frozen before its numbers were kept."), uses());
  const map = h("div", {});
  replace(
    body,
    h("section", { class: "panel" }, figures(statistics)),
    h("div", { class: "data-halves" }, panel("Sources and receivers", statistics.places ? map : h("p", { class: "hint" }, "The places were not kept when this version was frozen.")), h("div", { class: "data-stack" }, origin(found), panel("Splits", splitsTable(statistics), leaks(statistics)))),
    h("div", { class: "data-thirds" }, panel("Heard by", heardBy(statistics)), panel("SNR of the recordings", snrHistogram(statistics)), panel("Frequencies", frequencies(statistics))),
    h("div", { class: "data-halves" }, panel("Receivers", receiversTable(statistics)), panel("Heard together", heardTogether(statistics))),
    uses(),
  );
  if (statistics.places) drawSources(map, statistics, found.receivers);
}

function panel(title, ...children) {
  return h("section", { class: "panel" }, h("h2", {}, title), children);
}

function actions(found) {
  const train = may("jobs:write") && h("a", { class: "button button-primary", href: `/jobs/new?kind=train&dataset.name=${encodeURIComponent(found.name)}&dataset.version=${found.version}` }, "Train on it");
  const again = may("datasets:write") && h("a", { class: "button", href: `/datasets/new?from=${encodeURIComponent(found.name)}/${found.version}` }, "New version like this");
  return [again, train];
}

function origin(found) {
  const facts = queryFacts(found.query);
  const when = found.statistics ? timeRange(found.statistics) : "–";
  return h(
    "section",
    { class: "panel" },
    h("h2", {}, "Where it comes from"),
    h(
      "dl",
      { class: "kv" },
      h("dt", {}, "Frozen"),
      h("dd", {}, timeElement(found.created_at), ` by ${found.created_by}`),
      h("dt", {}, "Sessions"),
      h("dd", {}, facts.length ? h("ul", { class: "data-query" }, facts.map(([what, value]) => h("li", {}, `${what}: `, value))) : "everything that was approved"),
      h("dt", {}, "Recorded"),
      h("dd", {}, when),
      h("dt", {}, "Divided by"),
      h("dd", {}, splitText(found.split)),
      h("dt", {}, "Digest"),
      h("dd", {}, h("code", { class: "data-digest" }, found.digest)),
      h("dt", {}, "Manifest"),
      h("dd", {}, h("a", { href: found.manifest.download_url, rel: "noreferrer" }, "JSON"), " ", h("code", { class: "hint", title: found.manifest.sha256 }, `sha256 ${found.manifest.sha256.slice(0, 12)}`)),
    ),
  );
}

function uses() {
  return h("section", { class: "panel", id: "uses", hidden: !may("jobs:read") }, h("h2", {}, "Jobs and models made from it"), h("div", { id: "uses-body" }, h("p", { class: "hint" }, "Looking…")));
}

async function loadVersions(found) {
  const all = await get(`${path}/versions`).then((answer) => answer.data, () => []);
  if (all.length < 2) return;
  const options = all.map((one) => h("option", { value: one.version, selected: one.version === found.version }, `v${one.version}, ${age(one.created_at)} ago`));
  const go = (event) => location.assign(`/datasets/${encodeURIComponent(name)}/versions/${event.target.value}`);
  replace($("#versions"), h("label", {}, h("span", { class: "visually-hidden" }, "Version"), h("select", { on: { change: go } }, options)));
}

async function loadUses(found) {
  const element = $("#uses-body");
  try {
    const jobs = await get("/v1/jobs", { params: { dataset: `${found.name}/${found.version}`, limit: 50, view: "brief" } });
    replace(element, jobs.data.length ? usesTable(jobs) : h("p", { class: "hint" }, "No job that you can see has used it yet."));
  } catch (problem) {
    showProblem(element, problem, () => loadUses(found));
  }
}

function usesTable(jobs) {
  const head = ["Job", "Kind", "Status", "Model", "Median test error", "When"];
  return [
    h("div", { class: "table-wrap" }, h("table", { class: "table" }, h("thead", {}, h("tr", {}, head.map((one) => h("th", { scope: "col", class: one === "Median test error" ? "numeric" : "" }, one)))), h("tbody", {}, jobs.data.map(useRow)))),
    jobs.has_more && h("p", { class: "hint" }, "The newest 50."),
  ];
}

function useRow(job) {
  const made = job.result?.model;
  const model = made ? h("a", { href: `/models/${encodeURIComponent(made.name)}?version=${made.version}` }, `${made.name} v${made.version}`) : "–";
  const error = job.result?.metrics?.median_error_m;
  return h("tr", {}, h("th", { scope: "row" }, h("a", { href: `/jobs/${job.id}`, class: "mono" }, shortId(job.id))), h("td", {}, job.kind), h("td", {}, statusBadge(job)), h("td", {}, model), h("td", { class: "numeric" }, metres(error)), h("td", {}, timeElement(job.created_at, `${age(job.created_at)} ago`)));
}

start();
