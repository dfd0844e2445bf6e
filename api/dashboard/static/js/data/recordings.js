/** The list of recording sessions: filters in the URL, a map of what is listed, approval singly and in bulk. */

import { get, may, pages, send, withQuery } from "../core/api.js";
import { $, busy, confirmAction, debounce, h, reconcile, replace, setText, showEmpty, showProblem, toast } from "../core/dom.js";
import { number, timeElement } from "../core/format.js";
import { drawMap } from "./map.js";
import { approvalBadge, count, flagList, megahertz } from "./wording.js";

const PAGE = 200;
const FIELDS = ["approval_status", "flag", "source", "import_job_id", "started_after", "started_before"];
const MOST_CHANGED = 10_000;
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const canJudge = may("recordings:write");
const form = $("#filters");
const state = { sessions: [], receivers: [], cursor: null, isLoading: false, chosen: new Set(), turn: 0 };

async function start() {
  readUrl();
  form.addEventListener("input", debounce(() => changed(), 300));
  form.addEventListener("submit", (event) => event.preventDefault());
  $("#clear-filters").addEventListener("click", clearFilters);
  addEventListener("popstate", () => (readUrl(), load()));
  if (canJudge) startSelection();
  loadChoices();
  await load();
}

function readUrl() {
  const query = new URLSearchParams(location.search);
  for (const name of FIELDS) form.elements[name].value = query.get(name) ?? "";
}

function changed() {
  history.replaceState(null, "", withQuery("/recordings", values()));
  load();
}

function values() {
  return Object.fromEntries(FIELDS.map((name) => [name, form.elements[name].value.trim()]).filter(([, value]) => value));
}

function clearFilters() {
  for (const name of FIELDS) form.elements[name].value = "";
  changed();
}

/** What the service is asked for: days are days of the reader's zone. */
function parameters() {
  const wanted = values();
  for (const name of ["started_after", "started_before"]) {
    if (wanted[name]) wanted[name] = new Date(`${wanted[name]}T00:00`).toISOString();
  }
  return { ...wanted, limit: PAGE };
}

async function load() {
  const turn = (state.turn += 1);
  $("#clear-filters").hidden = !Object.keys(values()).length;
  try {
    const page = await get("/v1/recording-sessions", { params: parameters() });
    if (turn !== state.turn) return;
    state.sessions = [];
    state.chosen.clear();
    take(page);
  } catch (problem) {
    if (turn === state.turn) fail(problem, load);
  }
}

async function loadMore() {
  if (state.isLoading || !state.cursor) return;
  state.isLoading = true;
  const turn = state.turn;
  try {
    const page = await get("/v1/recording-sessions", { params: { ...parameters(), cursor: state.cursor } });
    if (turn === state.turn) take(page);
  } catch (problem) {
    fail(problem, loadMore);
  } finally {
    state.isLoading = false;
  }
}

function take(page) {
  state.sessions.push(...page.data);
  state.cursor = page.next_cursor;
  replace($("#trouble"));
  draw();
}

function fail(problem, retry) {
  showProblem($("#trouble"), problem, retry);
  if (!state.sessions.length) replace($("#rows"));
}

function draw() {
  const rows = $("#rows");
  if (rows.querySelector("[aria-hidden]")) replace(rows);
  reconcile(rows, state.sessions, { key: (session) => session.id, create: makeRow, update: updateRow });
  $("#frame").hidden = !state.sessions.length;
  setText($("#summary"), summary());
  replace($("#more"), state.cursor && h("button", { type: "button", class: "button button-quiet", on: { click: (event) => busy(event.currentTarget, loadMore()) } }, `Show ${number(PAGE)} more`));
  drawNothing();
  drawPlaces();
  drawImport();
  drawSelection();
}

function summary() {
  const shown = state.sessions.length;
  if (!shown) return "";
  return state.cursor ? `The newest ${number(shown)}` : count(shown, "session");
}

function drawNothing() {
  const element = $("#nothing");
  if (state.sessions.length) return void replace(element);
  if (Object.keys(values()).length) {
    const clear = h("button", { type: "button", class: "button", on: { click: clearFilters } }, "Clear filters");
    return void showEmpty(element, "No session matches these filters.", clear);
  }
  showEmpty(element, [...$("#first-session").content.cloneNode(true).children]);
}

function drawPlaces() {
  const spots = new Map();
  for (const session of state.sessions) {
    const { latitude, longitude, name } = session.source ?? {};
    if (latitude === null || latitude === undefined || longitude === null) continue;
    const key = `${latitude},${longitude},${session.approval_status}`;
    const spot = spots.get(key) ?? { latitude, longitude, kind: session.approval_status, size: 0, name, href: `/recordings/${session.id}` };
    spots.set(key, { ...spot, size: spot.size + 1 });
  }
  const places = [...spots.values()].map((spot) => ({ ...spot, title: `${spot.name}: ${count(spot.size, "session")}, ${spot.kind}` }));
  const label = `Map of the ${number(state.sessions.length)} listed sessions and ${count(state.receivers.length, "receiver")}`;
  drawMap($("#map"), { places, receivers: state.receivers, label });
}

function makeRow(session) {
  const box = canJudge && h("td", { class: "col-check" }, h("input", { type: "checkbox", "aria-label": `Select ${session.name}`, on: { change: (event) => choose(session.id, event.target.checked) } }));
  return h("tr", {}, box, Array.from({ length: 6 }, (_, place) => h(place ? "td" : "th", { scope: place ? null : "row", class: place === 2 ? "numeric" : "" })));
}

function updateRow(row, session) {
  if (row.session === session) return;
  row.session = session;
  const cells = [...row.children].slice(canJudge ? 1 : 0);
  const source = session.source;
  replace(cells[0], h("a", { href: `/recordings/${session.id}` }, session.name));
  const name = source && source.name !== session.name ? `${source.name} ` : "";
  replace(cells[1], name, h("span", { class: "hint" }, source ? megahertz(source.frequency_hz) : "not known"));
  replace(cells[2], number(session.num_recordings));
  replace(cells[3], approvalBadge(session.approval_status));
  replace(cells[4], flagList(session.flags));
  replace(cells[5], timeElement(session.started_at, MOMENT.format(new Date(session.started_at))));
}

/** An import is judged as a whole, however many sessions it has. */
function drawImport() {
  const job = values().import_job_id;
  const pending = state.sessions.filter((session) => session.approval_status === "pending").length;
  if (!canJudge || !job || !pending) return void replace($("#of-import"));
  const button = (status, label, style) => h("button", { type: "button", class: `button ${style}`, on: { click: (event) => judgeImport(job, status, event.currentTarget) } }, label);
  replace(
    $("#of-import"),
    h("div", { class: "notice data-import" }, h("span", {}, `${number(pending)}${state.cursor ? " or more" : ""} of this import are pending.`), h("span", { class: "data-actions" }, button("rejected", "Reject all pending", "button-danger"), button("approved", "Approve all pending", "button-primary"))),
  );
}

async function judgeImport(job, status, button) {
  const isRejection = status === "rejected";
  const sure = await confirmAction({
    title: `${isRejection ? "Reject" : "Approve"} every pending session of this import?`,
    text: "Those that somebody has judged before stay as they are, whatever the other filters show.",
    confirm: isRejection ? "Reject" : "Approve",
    danger: isRejection,
  });
  if (!sure) return;
  try {
    const answer = await busy(button, send("POST", `/v1/recording-sessions:${isRejection ? "reject" : "approve"}`, { import_job_id: job }));
    toast(`${count(answer[status], "session")} ${status}`);
    await load();
  } catch (problem) {
    showProblem($("#trouble"), problem);
  }
}

function startSelection() {
  $("#select-all").addEventListener("change", (event) => {
    for (const session of state.sessions) mark(session.id, event.target.checked);
    drawSelection();
  });
  $("#clear-selection").addEventListener("click", () => (state.chosen.clear(), drawSelection()));
  $("#approve-selected").addEventListener("click", (event) => judge("approved", event.currentTarget));
  $("#reject-selected").addEventListener("click", (event) => judge("rejected", event.currentTarget));
}

function choose(id, isChosen) {
  mark(id, isChosen);
  drawSelection();
}

function mark(id, isChosen) {
  if (isChosen) state.chosen.add(id);
  else state.chosen.delete(id);
}

function drawSelection() {
  if (!canJudge) return;
  const chosen = state.chosen.size;
  $("#selection").hidden = !chosen;
  setText($("#selected-count"), `${count(chosen, "session")} selected`);
  const all = $("#select-all");
  all.checked = chosen > 0 && chosen === state.sessions.length;
  all.indeterminate = chosen > 0 && !all.checked;
  for (const row of $("#rows").children) {
    const box = row.querySelector("input");
    if (box && row.session) box.checked = state.chosen.has(row.session.id);
  }
}

async function judge(status, button) {
  const ids = [...state.chosen].slice(0, MOST_CHANGED);
  const isRejection = status === "rejected";
  const sure = await confirmAction({
    title: `${isRejection ? "Reject" : "Approve"} ${count(ids.length, "session")}?`,
    text: isRejection ? "Rejected sessions are left out of the dataset versions that are frozen from now on." : "Approved sessions belong to the dataset versions that are frozen from now on.",
    confirm: isRejection ? "Reject" : "Approve",
    danger: isRejection,
  });
  if (!sure) return;
  try {
    const verb = isRejection ? "reject" : "approve";
    const answer = await busy(button, send("POST", `/v1/recording-sessions:${verb}`, { ids }));
    toast(`${count(answer[status], "session")} ${status}`);
    const changedIds = new Set(ids);
    state.sessions = state.sessions.map((session) => (changedIds.has(session.id) ? { ...session, approval_status: status } : session));
    state.chosen.clear();
    draw();
  } catch (problem) {
    showProblem($("#trouble"), problem);
  }
}

/** Names to choose from; without them the fields are as good. */
async function loadChoices() {
  const receivers = get("/v1/receivers").then((found) => {
    state.receivers = found.data;
    drawPlaces();
  });
  await Promise.allSettled([receivers, may("jobs:read") ? loadImports() : null]);
  const names = new Set(state.sessions.map((session) => session.source?.name).filter(Boolean));
  replace($("#source-names"), [...names].slice(0, 200).map((name) => h("option", { value: name })));
}

async function loadImports() {
  const jobs = [];
  for await (const job of pages("/v1/jobs", { kind: "import", limit: 50 })) {
    jobs.push(job);
    if (jobs.length >= 50) break;
  }
  replace($("#import-ids"), jobs.map((job) => h("option", { value: job.id, label: job.created_at.slice(0, 16).replace("T", " ") })));
}

start();
