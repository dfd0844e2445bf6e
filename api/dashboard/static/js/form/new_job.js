/** The page of a new job: the form, the check beside it, the request as text, and its submission. */

import { Problem, get, may, randomId, send } from "../core/api.js";
import { $, $$, busy, h, replace, setAttribute, setText, showProblem } from "../core/dom.js";
import { shortId } from "../core/format.js";
import { checker } from "./checking.js";
import { copyFrom } from "./copying.js";
import { showEstimates } from "./estimates.js";
import { findingItem, focusFirstProblem, showFindings } from "./findings.js";
import { countFolds, groupElements } from "./groups.js";
import { firstRequest } from "./prefill.js";
import { RequestDraft } from "./request.js";
import { aboutKind, fieldsOf, kindsOf, titled } from "./schema.js";
import { asCurl, asPython } from "./snippets.js";

const form = $("#request");
const json = $("#json");
const query = new URLSearchParams(location.search);

/** Loads the schema and what the form begins with, and builds the page. */
async function start() {
  try {
    const root = await get("/v1/jobs:schema");
    build(root, new RequestDraft(await begun(root)));
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    showProblem($("#notice"), problem, () => location.reload());
    replace($("#fields"));
    $("#submit").disabled = true;
  }
}

/** What the address asks for; an empty form where the job to clone is not there. */
async function begun(root) {
  const clone = query.get("clone");
  try {
    return await firstRequest(root, query);
  } catch (problem) {
    if (!clone || problem.status !== 404) throw problem;
    query.delete("clone");
    replace($("#notice"), h("div", { class: "notice notice-bad" }, h("p", {}, `There is no job ${clone} to copy from, or it belongs to somebody else: the form begins empty.`)));
    return firstRequest(root, query);
  }
}

function build(root, draft) {
  const page = { root, draft, fields: [], key: randomId() };
  page.check = checker({
    onStart: () => say("Checking", "busy"),
    onResult: (verdict) => showVerdict(page, verdict),
    onProblem: (problem) => showUnchecked(problem),
  });
  showKinds(page);
  showForm(page);
  showText(page);
  showOrigin();
  draft.onChange((_, source) => changed(page, source));
  json.addEventListener("input", () => readJson(page));
  form.addEventListener("submit", (event) => submitted(event, page));
  for (const button of $$("[data-copy]")) listenForCopy(button);
  if (query.size) page.check.now(draft.value);
  else say("Choose what the job reads to see what it takes.", "idle");
}

function listenForCopy(button) {
  button.addEventListener("click", () => copyFrom($(`#${button.dataset.copy}`)));
}

function changed(page, source) {
  page.key = randomId();
  replace($("#refusal"));
  if (source === "json") showForm(page);
  else writeJson(page.draft.value);
  showCommands(page);
  countFolds(form, page.fields, page.draft);
  page.check.soon(page.draft.value);
}

function showKinds(page) {
  const kinds = kindsOf(page.root).filter((kind) => kind !== "import" || page.draft.value.kind === "import");
  replace($("#kinds"), kinds.map((kind) => h("label", {}, kindRadio(page, kind), titled(kind))));
}

function kindRadio(page, kind) {
  return h("input", { type: "radio", name: "kind", value: kind, on: { change: () => choose(page, kind) } });
}

/** Another kind keeps what it has in common with the one before. */
function choose(page, kind) {
  const names = new Set(fieldsOf(page.root, kind).map((field) => field.name));
  const isSame = ([name, value]) => names.has(name) && name !== "outputs" && name !== "model" && value !== undefined;
  page.draft.replace({ kind, ...Object.fromEntries(Object.entries(page.draft.value).filter(isSame)) }, "kind");
  showForm(page);
}

function showForm(page) {
  const { root, draft } = page;
  const open = new Set($$("details[data-group][open]", form).map((fold) => fold.dataset.group));
  const kind = kindsOf(root).includes(draft.value?.kind) ? draft.value.kind : null;
  for (const radio of $$('input[name="kind"]', form)) radio.checked = radio.value === kind;
  setText($("#about-kind"), kind ? aboutKind(root, kind) : "The JSON names no kind that there is.");
  page.fields = kind ? fieldsOf(root, kind) : [];
  replace($("#fields"), groupElements(page.fields, draft));
  for (const fold of $$("details[data-group]", form)) fold.open = open.has(fold.dataset.group);
  countFolds(form, page.fields, draft);
}

function showText(page) {
  writeJson(page.draft.value);
  showCommands(page);
}

function writeJson(value) {
  json.value = JSON.stringify(value, null, 2);
  showJsonError("");
}

function readJson(page) {
  try {
    const value = JSON.parse(json.value);
    if (value === null || typeof value !== "object" || Array.isArray(value)) throw new SyntaxError("no object");
    showJsonError("");
    page.draft.replace(value, "json");
  } catch (error) {
    showJsonError(`This is no JSON, so the form does not follow it: ${error.message}`);
  }
}

function showJsonError(text) {
  $("#json-error").hidden = !text;
  setText($("#json-error"), text);
  setAttribute(json, "aria-invalid", text ? "true" : null);
}

function showCommands({ draft }) {
  setText($("#curl"), asCurl(draft.value, location.origin));
  setText($("#python"), asPython(draft.value, location.origin));
}

/** Says which job the form was filled from. */
function showOrigin() {
  const id = query.get("clone");
  if (!id) return;
  const link = h("a", { href: `/jobs/${id}` }, shortId(id));
  const text = h("p", {}, "Filled from ", link, ": only what differs from the defaults.");
  replace($("#notice"), h("div", { class: "notice" }, text));
}

function showVerdict(page, verdict) {
  const rest = showFindings(form, verdict);
  const count = verdict.problems.length;
  const minded = verdict.warnings.length ? `, ${counted(verdict.warnings.length, "warning")}` : "";
  say(count ? `${counted(count, "problem")}${minded}` : `Ready${minded}`, count ? "bad" : "ok");
  replace($("#findings"), rest.length > 0 && h("ul", {}, rest.map(findingItem)));
  showEstimates($("#estimates"), verdict);
}

function showUnchecked(problem) {
  say("Not checked", "bad");
  showProblem($("#findings"), problem);
}

async function submitted(event, page) {
  event.preventDefault();
  const { draft, key } = page;
  if (!may("jobs:write") || $("#submit").disabled) return;
  await busy($("#submit"), submit(page, draft.value, key));
}

async function submit(page, body, key) {
  const verdict = await page.check.now(body);
  if (verdict && !verdict.valid && focusFirstProblem(form)) return;
  try {
    const job = await send("POST", "/v1/jobs", body, { headers: { "Idempotency-Key": `"${key}"` } });
    location.assign(`/jobs/${job.id}`);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    showFindings(form, { problems: problem.errors, warnings: [] });
    if (!focusFirstProblem(form)) showProblem($("#refusal"), problem);
  }
}

function say(text, state) {
  $("#verdict").dataset.state = state;
  setText($("#verdict"), text);
}

function counted(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

start();
