/** The form for a dataset version: what it would hold follows as one types. */

import { get, send } from "../core/api.js";
import { $, $$, busy, confirmAction, debounce, h, replace, setText, showProblem } from "../core/dom.js";
import { drawSources, duplicates, figures, frequencies, heardBy, heardTogether, leaks, receiversTable, snrHistogram, splitsTable, timeRange } from "./statistics.js";
import { count, leftOutText } from "./wording.js";

const PAUSE_MS = 450;
const STAND_IN = "preview";
const form = $("#form");
const preview = $("#preview");
const freeze = $("#freeze");
const state = { receivers: [], turn: 0, abort: null, found: null };

async function start() {
  form.addEventListener("input", () => (arrange(), look()));
  form.addEventListener("submit", submit);
  const from = new URLSearchParams(location.search).get("from");
  const [receivers] = await Promise.all([get("/v1/receivers").then((found) => found.data, () => []), nameDatasets()]);
  state.receivers = receivers;
  offerReceivers();
  if (from) await fill(from);
  arrange();
  lookNow();
}

async function nameDatasets() {
  const found = await get("/v1/datasets", { params: { limit: 200 } }).catch(() => ({ data: [] }));
  replace($("#dataset-names"), found.data.map((one) => h("option", { value: one.name })));
}

function offerReceivers() {
  const boxes = state.receivers.map((one) => h("label", {}, h("input", { type: "checkbox", name: "receiver", value: one.name }), ` ${one.name}`));
  replace($("#receivers"), boxes.length ? boxes : h("p", { class: "hint" }, "No receiver is known yet: an import brings them."));
}

/** Begins with the query and the split of another version. */
async function fill(from) {
  const [name, version] = from.split("/");
  const path = `/v1/datasets/${encodeURIComponent(name)}` + (version ? `/versions/${encodeURIComponent(version)}` : "");
  const other = await get(path).catch((problem) => void showProblem($("#problems"), problem));
  if (!other) return;
  form.elements.name.value = other.name;
  const region = other.query.region;
  $("#region").value = region?.circle ? "circle" : region?.box ? "box" : "";
  for (const field of $$("[data-kind]", form)) write(field, valueAt(other, field.dataset.pointer));
  const chosen = new Set(other.query.receivers ?? []);
  for (const box of $$("[name=receiver]", form)) box.checked = chosen.has(box.value);
}

function valueAt(document, pointer) {
  return pointer.slice(1).split("/").reduce((value, part) => value?.[part], document);
}

function write(field, value) {
  if (value === null || value === undefined) return;
  const { kind, scale } = field.dataset;
  if (kind === "time") field.value = localTime(value);
  else if (kind === "lines") field.value = value.join("\n");
  else field.value = kind === "number" && scale ? value / Number(scale) : value;
}

function localTime(iso) {
  const moment = new Date(iso);
  return new Date(moment - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** Shows the fields that the choices ask for. */
function arrange() {
  for (const part of $$("[data-region]", form)) part.hidden = part.dataset.region !== $("#region").value;
  for (const part of $$("[data-strategy]", form)) part.hidden = part.dataset.strategy !== $("#strategy").value;
}

/** The body of the request: hidden and empty fields are left out. */
function definition() {
  const body = { name: form.elements.name.value.trim() || STAND_IN, query: {}, split: {} };
  for (const field of $$("[data-kind]", form)) {
    const value = read(field);
    if (value !== undefined && !field.closest("[hidden]")) put(body, field.dataset.pointer, value);
  }
  const receivers = $$("[name=receiver]:checked", form).map((box) => box.value);
  if (receivers.length) body.query.receivers = receivers;
  return body;
}

function read(field) {
  const text = field.value.trim();
  if (field.validity.badInput) return text || null;
  if (!text) return undefined;
  const { kind, scale } = field.dataset;
  if (kind === "time") return new Date(text).toISOString();
  if (kind === "lines") return text.split("\n").map((line) => line.trim()).filter(Boolean);
  return kind === "number" ? Number((Number(text) * Number(scale ?? 1)).toPrecision(15)) : text;
}

function put(body, pointer, value) {
  const parts = pointer.slice(1).split("/");
  const last = parts.pop();
  const parent = parts.reduce((object, part) => (object[part] ??= {}), body);
  parent[last] = value;
}

/** What the browser sees to be wrong is not asked for. */
function wrongFields() {
  const shown = $$("[data-pointer]", form).filter((field) => field.validity && !field.closest("[hidden]"));
  const wrong = shown.filter((field) => !field.validity.valid).map((field) => [field, field.title || field.validationMessage]);
  const missing = shown.filter((field) => field.closest("[data-region]") && field.validity.valid && !field.value).map((field) => [field, "The region needs this."]);
  return [...wrong, ...missing].map(([field, detail]) => ({ pointer: `#${field.dataset.pointer}`, detail }));
}

const look = debounce(lookNow, PAUSE_MS);

async function lookNow() {
  state.abort?.abort();
  state.abort = new AbortController();
  const turn = (state.turn += 1);
  const wrong = wrongFields();
  if (wrong.length) return refuse({ errors: wrong });
  preview.setAttribute("aria-busy", "true");
  try {
    const found = await send("POST", "/v1/datasets:preview", definition(), { signal: state.abort.signal });
    if (turn === state.turn) show(found);
  } catch (problem) {
    if (turn === state.turn && problem.name !== "AbortError") refuse(problem);
  }
}

function show(found) {
  state.found = found;
  preview.removeAttribute("aria-busy");
  tellProblems(found.problems);
  const map = h("div", {});
  replace(
    preview,
    h("section", { class: "panel" }, figures(found), h("p", { class: "hint data-when" }, found.sessions ? timeRange(found) : "No session matches yet.")),
    leftOut(found),
    duplicates(found),
    found.sessions > 0 && [
      panel("Splits", splitsTable(found), found.splits && leaks(found)),
      panel("Sources and receivers", map),
      h("div", { class: "data-pairs" }, panel("Heard by", heardBy(found)), panel("SNR of the recordings", snrHistogram(found))),
      h("div", { class: "data-pairs" }, panel("Receivers", receiversTable(found)), panel("Frequencies", frequencies(found))),
      panel("Heard together", heardTogether(found)),
    ],
  );
  if (found.sessions) drawSources(map, found, state.receivers);
  tellVerdict(found);
}

function panel(title, ...children) {
  return h("section", { class: "panel" }, h("h2", {}, title), children);
}

function leftOut(found) {
  const reasons = Object.entries(found.left_out).filter(([, n]) => n);
  const { unverified, repeated } = found.recordings_left_out;
  if (!reasons.length && !unverified && !repeated) return null;
  return h(
    "section",
    { class: "panel" },
    h("h2", {}, "Left out"),
    h(
      "ul",
      { class: "data-left-out" },
      reasons.map(([reason, n]) => h("li", {}, h("strong", {}, count(n, "session")), ` ${leftOutText(reason)}`, reason === "pending" && [" ", h("a", { href: "/recordings?approval_status=pending" }, "look at them")])),
      unverified > 0 && h("li", {}, h("strong", {}, count(unverified, "recording")), " cannot be verified"),
      repeated > 0 && h("li", {}, h("strong", {}, count(repeated, "recording")), " repeat a receiver of their session"),
    ),
  );
}

function tellVerdict(found) {
  const hasName = form.elements.name.value.trim() !== "";
  const isReady = found.would_create_version !== null && hasName;
  if (freeze) freeze.disabled = !isReady;
  if (freeze) setText(freeze, isReady ? `Freeze version ${found.would_create_version}` : "Freeze");
  replace($("#verdict"), verdict(found, hasName));
}

function verdict(found, hasName) {
  if (found.problems.length) return `${count(found.problems.length, "problem")} to mend first.`;
  if (!hasName) return "Give it a name.";
  if (found.same_as_version !== null) return h("span", {}, versionLink(found.same_as_version), " holds exactly this already.");
  return `${count(found.sessions, "session")} of ${count(found.receivers.length, "receiver")}.`;
}

function versionLink(version) {
  const name = form.elements.name.value.trim();
  return h("a", { href: `/datasets/${encodeURIComponent(name)}/versions/${version}` }, `Version ${version}`);
}

/** A refused query: the former numbers are no longer those of the form. */
function refuse(problem) {
  if (freeze) freeze.disabled = true;
  const errors = problem.errors ?? [];
  if (!errors.length) return void (preview.removeAttribute("aria-busy"), showProblem(preview, problem, lookNow));
  tellProblems(errors);
  if (!state.found) replace(preview, h("div", { class: "panel hint" }, "The numbers come once the marked fields are right."));
  setText($("#verdict"), `${count(errors.length, "field")} to mend first.`);
}

/** Puts each problem beside its field; what belongs to none comes first. */
function tellProblems(problems) {
  for (const field of $$("[data-pointer]", form)) clearField(field);
  const rest = problems.filter((problem) => !tellField(problem));
  replace($("#problems"), rest.length > 0 && h("div", { class: "notice notice-bad", role: "alert" }, h("ul", {}, rest.map((problem) => h("li", {}, problem.detail)))));
}

function clearField(field) {
  field.removeAttribute("aria-invalid");
  field.removeAttribute("aria-errormessage");
  const row = field.closest(".form-row") ?? field;
  row.querySelector(".field-error")?.remove();
}

function tellField(problem) {
  const pointer = (problem.pointer ?? "").replace(/^#/, "");
  const fields = $$("[data-pointer]", form).filter((one) => pointer === one.dataset.pointer || pointer.startsWith(`${one.dataset.pointer}/`));
  const field = fields.sort((a, b) => b.dataset.pointer.length - a.dataset.pointer.length)[0];
  if (!field || field.closest("[hidden]")) return false;
  field.closest("details")?.setAttribute("open", "");
  const id = `error-${(field.id || "receivers")}`;
  field.setAttribute("aria-invalid", "true");
  field.setAttribute("aria-errormessage", id);
  const row = field.closest(".form-row") ?? field;
  if (!row.querySelector(".field-error")) row.append(h("p", { class: "field-error", id }));
  row.querySelector(".field-error").append(problem.detail, " ");
  return true;
}

async function submit(event) {
  event.preventDefault();
  if (!freeze || freeze.disabled) return;
  const found = state.found;
  const sure = await confirmAction({
    title: `Freeze ${form.elements.name.value.trim()} version ${found.would_create_version}?`,
    text: `It will hold ${count(found.sessions, "session")} and never change.`,
    confirm: "Freeze",
  });
  if (!sure) return;
  try {
    const made = await busy(freeze, send("POST", "/v1/datasets", definition(), { idempotent: true }));
    location.assign(`/datasets/${encodeURIComponent(made.name)}/versions/${made.version}`);
  } catch (problem) {
    if (problem.errors?.length) tellProblems(problem.errors);
    else showProblem($("#problems"), problem);
  }
}

start();
