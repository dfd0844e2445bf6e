/** Workers and queue: who runs what, and what waits for it. */

import { get } from "../core/api.js";
import { $, gathered, h, reconcile, replace, setText, showEmpty, showProblem } from "../core/dom.js";
import { follow } from "../core/events.js";
import { age, duration, number } from "../core/format.js";
import { reasonText } from "../core/jobs.js";
import { createWorker, slotsOf, updateWorker } from "./worker_card.js";

const POLL_MS = 4_000;
const GATHER_MS = 800;
const IDS = 100;
const REMEDIES = {
  no_worker: "Start a worker that can run them, or undrain one; a job's page says what it needs.",
  quota: "They start as soon as jobs of the same owner end.",
};

let state = { workers: [], jobs: new Map(), queue: null };

async function load() {
  const [list, queue] = await Promise.all([get("/v1/workers"), get("/v1/queue")]);
  const ids = list.data.flatMap((worker) => worker.running_job_ids);
  state = { workers: list.data, jobs: await runningJobs(ids), queue };
}

async function runningJobs(ids) {
  const jobs = new Map();
  for (let start = 0; start < ids.length; start += IDS) {
    const page = await get("/v1/jobs", { params: { id: ids.slice(start, start + IDS), limit: IDS, view: "brief" } });
    for (const job of page.data) jobs.set(job.id, job);
  }
  return jobs;
}

let running = null;
let isLost = false;

/** Loads and shows, once at a time; what comes meanwhile waits for the next time. */
function refresh() {
  running ??= load()
    .then(show, showTrouble)
    .finally(() => (running = null));
  return running;
}

function showTrouble(problem) {
  if (!state.queue || problem.status !== 0) showProblem($("#trouble"), problem, refresh);
}

function show() {
  replace($("#trouble"));
  showFigures();
  showWorkers();
  showWaiting();
  showWaits();
}

function showFigures() {
  const { queue, workers, jobs } = state;
  const slots = workers.filter((worker) => worker.is_alive).map((worker) => slotsOf(worker, jobs));
  const taken = slots.reduce((sum, one) => sum + one.taken + one.lightTaken, 0);
  const all = slots.reduce((sum, one) => sum + one.all + one.lightAll, 0);
  const told = {
    running: number(queue.running),
    queued: number(queue.queued),
    paused: number(queue.paused),
    slots: `${number(taken)} of ${number(all)}`,
    oldest: age(oldestOf(queue)),
  };
  for (const [name, text] of Object.entries(told)) setText($(`[data-figure=${name}]`), text);
}

function oldestOf(queue) {
  return queue.waiting.map((group) => group.oldest_queued_at).sort()[0] ?? null;
}

function showWorkers() {
  const alive = state.workers.filter((worker) => worker.is_alive);
  const lost = state.workers.filter((worker) => !worker.is_alive);
  const create = (worker) => createWorker(worker, changedWorkers);
  const how = { key: (worker) => worker.name, create, update: updateOne };
  $("#workers .skeleton")?.closest(".card").remove();
  reconcile($("#workers"), alive, how);
  reconcile($("#lost-workers"), lost, how);
  $("#lost").hidden = lost.length === 0;
  setText($("#lost-count"), `Lost or shut down: ${number(lost.length)}`);
  if (alive.length) replace($("#no-workers"));
  else if (!$("#no-workers").firstChild) showEmpty($("#no-workers"), howToStart());
}

function howToStart() {
  return [
    "No worker is alive: jobs are accepted and wait.",
    h("p", {}, h("code", {}, "heimdall up"), " starts one on this machine; docs/deployment.md tells how others join."),
  ];
}

function updateOne(card, worker) {
  updateWorker(card, worker, state.jobs);
}

function changedWorkers(list) {
  state = { ...state, workers: list.data };
  show();
}

function showWaiting() {
  const groups = state.queue.waiting;
  $("#waiting-table").hidden = groups.length === 0;
  if (groups.length) replace($("#no-waiting"));
  else if (!$("#no-waiting").firstChild) replace($("#no-waiting"), h("p", { class: "hint" }, "Nothing waits."));
  reconcile($("#waiting"), groups, { key: (group) => group.reason, create: waitingRow, update: fillWaiting });
}

function waitingRow({ reason }) {
  const text = reasonText(reason);
  const remedy = REMEDIES[reason] && h("span", { class: "remedy" }, REMEDIES[reason]);
  const name = h("th", { scope: "row" }, text[0].toUpperCase() + text.slice(1), remedy);
  return h("tr", {}, name, h("td", { class: "numeric" }), h("td", { class: "numeric" }));
}

function fillWaiting(row, group) {
  setText(row.cells[1], number(group.num_jobs));
  setText(row.cells[2], age(group.oldest_queued_at));
}

function showWaits() {
  const waits = state.queue.recent_waits;
  $("#waits-table").hidden = waits.length === 0;
  if (waits.length) replace($("#no-waits"));
  else replace($("#no-waits"), h("p", { class: "hint" }, "No job of the last day has started yet."));
  reconcile($("#waits"), waits, { key: (wait) => wait.kind, create: waitsRow, update: fillWaits });
}

function waitsRow({ kind }) {
  return h("tr", {}, h("th", { scope: "row" }, kind), [1, 2, 3].map(() => h("td", { class: "numeric" })));
}

function fillWaits(row, wait) {
  setText(row.cells[1], number(wait.num_jobs));
  setText(row.cells[2], duration(wait.p50_seconds));
  setText(row.cells[3], duration(wait.p90_seconds));
}

async function poll() {
  if (!document.hidden && !isLost) await refresh();
  setTimeout(poll, POLL_MS);
}

follow("/v1/events/stream?name=job.*", {
  onEvent: gathered(refresh, GATHER_MS),
  onState: (now) => {
    isLost = now === "lost";
    if (!isLost) refresh();
  },
});
poll();
