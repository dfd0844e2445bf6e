/** The list of jobs: filters, rows, what happens to them, and what is asked of several at once. */

import { get, may, viewer } from "../core/api.js";
import { $, $$, gathered, h, replace, setText, showEmpty, showProblem } from "../core/dom.js";
import { eventPosition, follow } from "../core/events.js";
import { number } from "../core/format.js";
import { asParams, clearFilters, isFiltered, readFilters, watchFilters } from "./filters.js";
import { firstJob } from "./first_job.js";
import { createRow, updateRow } from "./job_row.js";
import { watchKeys } from "./keys.js";
import { JobStore } from "./job_store.js";
import { keepPlace, savedPlace } from "./place.js";
import { Selection } from "./selection.js";
import { WindowedTable } from "./windowed_table.js";

const POLL_MS = 2_000;
const GATHER_MS = 150;
const SUMMARY_MS = 1_000;
const LONG_PAGE = 500;

const arrived = new Set();
const stale = new Set();
let filters = readFilters();
let store = null;
let isLost = false;

const table = new WindowedTable($("#jobs"), {
  items: () => store?.jobs ?? [],
  key: (job) => job.id,
  create: (job) => createRow(job),
  update: drawRow,
  onNearEnd: () => loadMore(),
});
const selection = new Selection({
  jobs: () => store?.jobs ?? [],
  onChange: () => table.draw(),
  onCancelled: (job) => {
    store.put(job);
    table.drawSoon();
  },
});

/** Begins the list anew, with what the filters say. */
async function begin(wanted) {
  filters = wanted;
  store?.close();
  const onChange = (change) => mine === store && changed(change);
  const mine = new JobStore(asParams(filters, viewer.owner), { onChange });
  store = mine;
  $(".jobs-frame").hidden = false;
  scrollTo({ top: 0, behavior: "instant" });
  await loadMore();
  if (mine === store) selection.setAll(false);
}

async function loadMore(limit) {
  const mine = store;
  if (!mine?.hasMore || mine.broken) return;
  try {
    await mine.loadMore(limit);
    if (mine === store) replace($("#trouble"));
  } catch (problem) {
    if (mine === store && problem.name !== "AbortError") showTrouble(mine, problem);
  }
}

function showTrouble(mine, problem) {
  mine.broken = true;
  const again = () => {
    mine.broken = false;
    loadMore();
  };
  if (problem.status === 0) mine.retryWhenOpen = again;
  $(".jobs-frame").hidden = mine.jobs.length === 0;
  showProblem($("#trouble"), problem, again);
}

function changed({ inserted }) {
  $$("#rows .waiting").forEach((row) => row.remove());
  const above = table.firstVisible();
  inserted.forEach((id) => arrived.add(id));
  const before = store.jobs.slice(0, above + inserted.length).filter((job) => inserted.includes(job.id)).length;
  table.draw();
  table.shiftBy(before);
  selection.prune();
  describe();
}

function drawRow(row, job) {
  updateRow(row, job, selection.has(job.id));
  if (arrived.delete(job.id)) row.classList.add("arrived");
}

function describe() {
  const count = store.jobs.length;
  $(".jobs-frame").hidden = count === 0 && !store.hasMore;
  setText($("#more"), store.hasMore ? `${number(count)} loaded, older ones below` : `${number(count)} in all`);
  $("#keys").hidden = count === 0;
  if (count || store.hasMore) replace($("#nothing"));
  else if (isFiltered(filters)) showEmpty($("#nothing"), "No job matches these filters.", clearButton());
  else if (!$("#nothing").firstChild) replace($("#nothing"), firstJob());
}

function clearButton() {
  return h("button", { type: "button", class: "button", on: { click: clearFilters } }, "Clear filters");
}

/** Progress and places in the queue are not events: those in view are asked for again and again. */
async function poll() {
  if (!document.hidden && !isLost && store && !store.broken) {
    const active = store.jobs.slice(table.first, table.last).filter((job) => !job.is_terminal);
    if (active.length) await store.refresh(active.map((job) => job.id)).catch(() => {});
    else table.draw();
  }
  setTimeout(poll, POLL_MS);
}

const takeStale = gathered(() => {
  const ids = [...stale];
  stale.clear();
  store.refresh(ids).catch((problem) => {
    if (problem.status === 0) ids.forEach((id) => stale.add(id));
  });
  summarize();
}, GATHER_MS);

function happened({ data }) {
  stale.add(data.job_id);
  takeStale();
}

function connected(state) {
  isLost = state === "lost";
  if (isLost) return;
  store?.retryWhenOpen?.();
  if (stale.size) takeStale();
  summarize();
}

const summarize = gathered(async () => {
  const queue = await get("/v1/queue").catch(() => null);
  if (!queue) return;
  const told = [`${number(queue.running)} running`, `${number(queue.queued)} queued`];
  if (queue.paused) told.push(`${number(queue.paused)} paused`);
  setText($("#summary"), told.join(", "));
}, SUMMARY_MS);

async function nameModels() {
  const page = await get("/v1/models", { params: { limit: 100 } }).catch(() => ({ data: [] }));
  replace($("#model-names"), page.data.map((model) => h("option", { value: model.name })));
}

function placeNow() {
  const index = table.firstVisible();
  return { count: store?.jobs.length ?? 0, y: scrollY, index, id: store?.jobs[index]?.id ?? null };
}

/** As many rows as were loaded when the page was left, and the view on the job where it was. */
async function returnTo({ count, y, index, id }) {
  const mine = store;
  while (mine === store && mine.hasMore && !mine.broken && mine.jobs.length < count) await loadMore(LONG_PAGE);
  if (mine !== store) return;
  const at = mine.jobs.findIndex((job) => job.id === id);
  scrollTo({ top: y + (at < 0 ? 0 : at - index) * table.rowHeight, behavior: "instant" });
}

async function start() {
  const place = savedPlace();
  keepPlace(placeNow);
  watchFilters(begin);
  watchKeys({ table, jobs: () => store?.jobs ?? [], selection });
  const position = await eventPosition().catch(() => "now");
  begin(filters).then(() => place && returnTo(place));
  follow("/v1/events/stream?name=job.*", { after: position, onEvent: happened, onState: connected });
  if (may("models:read")) $("#filters").addEventListener("focusin", nameModels, { once: true });
  setTimeout(poll, POLL_MS);
}

start();
