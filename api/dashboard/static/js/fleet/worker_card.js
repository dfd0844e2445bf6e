/** One worker: what it is, what it runs, and whether it takes more. */

import { may, send } from "../core/api.js";
import { busy, confirmAction, h, reconcile, setAttribute, setText, toast } from "../core/dom.js";
import { age, bytes, shortId, utc } from "../core/format.js";
import { modelText, progressBar, updateProgress, workText } from "../core/jobs.js";

const NUM_KINDS = 4;
const MAX_BOXES = 32;
const LIGHT_KINDS = new Set(["import", "evaluate", "export"]);
const parts = new WeakMap();

/** How many slots a worker has and how many are taken, those of light kinds apart. */
export function slotsOf(worker, jobs) {
  let taken = 0;
  let lightTaken = 0;
  for (const id of worker.running_job_ids) {
    const job = jobs.get(id);
    if (worker.light_slots && LIGHT_KINDS.has(job?.kind)) lightTaken += 1;
    else taken += job?.spec.resources?.devices ?? 1;
  }
  return { taken, all: worker.slots, lightTaken, lightAll: worker.light_slots };
}

/** An empty card; `onChanged(workers)` takes the answer to a drain or its end. */
export function createWorker(worker, onChanged) {
  const made = {
    badge: h("span"),
    facts: h("p", { class: "facts" }),
    slots: h("div", { class: "slots" }),
    memory: h("p", { class: "memory" }, h("progress", { class: "progress", max: 1 }), h("span")),
    jobs: h("ul", { class: "worker-jobs", "aria-label": `Jobs of ${worker.name}` }),
    idle: h("p", { class: "idle" }, "Runs nothing."),
    drain: may("admin") ? h("button", { type: "button", class: "button button-small button-quiet" }) : null,
  };
  const head = h("div", { class: "worker-head" }, h("h3", { title: worker.name }, worker.name), made.badge, made.drain);
  const body = [made.facts, made.slots, made.memory, made.jobs, made.idle];
  const card = h("article", { class: "card worker", "aria-label": worker.name }, head, body);
  made.drain?.addEventListener("click", () => toggleDraining(made, onChanged));
  parts.set(card, made);
  return card;
}

/** Makes a card say what the worker says now. */
export function updateWorker(card, worker, jobs) {
  const made = parts.get(card);
  made.worker = worker;
  showState(made, worker);
  setText(made.facts, factsOf(worker));
  setAttribute(made.facts, "title", `Started ${utc(worker.started_at)}, last seen ${utc(worker.last_seen_at)}`);
  showSlots(made.slots, worker, slotsOf(worker, jobs));
  showMemory(made.memory, worker, jobs);
  const running = worker.running_job_ids.map((id) => ({ id, job: jobs.get(id) }));
  reconcile(made.jobs, running, { key: ({ id }) => id, create: jobLine, update: fillJobLine });
  made.idle.hidden = running.length > 0 || !worker.is_alive;
}

function showState({ badge, drain }, worker) {
  const [name, text] = stateOf(worker);
  setAttribute(badge, "class", `badge badge-${name}`);
  setText(badge, text);
  if (!drain) return;
  setText(drain, worker.draining ? "Undrain" : "Drain");
  setAttribute(drain, "aria-label", `${worker.draining ? "Undrain" : "Drain"} ${worker.name}`);
  drain.hidden = !worker.is_alive && !worker.draining;
}

function stateOf(worker) {
  if (!worker.is_alive) return ["lost", "lost"];
  if (!worker.draining) return ["alive", "takes jobs"];
  return ["draining", worker.running_job_ids.length ? "draining" : "drained"];
}

function factsOf(worker) {
  const [count, unit] = worker.accelerator.split(" ");
  const hasSeveral = unit === "gpu" && count !== "1";
  const device = unit === "gpu" ? `${count} GPU${hasSeveral ? "s" : ""}` : worker.accelerator.toUpperCase();
  const memory = worker.memory_bytes ? `${bytes(worker.memory_bytes)}${hasSeveral ? " each" : ""}` : "";
  const kinds = worker.kinds && worker.kinds.length < NUM_KINDS ? `only ${worker.kinds.join(", ")}` : "";
  const seen = worker.is_alive ? `up ${age(worker.started_at)}` : `last seen ${age(worker.last_seen_at)} ago`;
  return [worker.host === worker.name ? "" : worker.host, device, memory, kinds, seen].filter(Boolean).join(" · ");
}

function showSlots(element, worker, { taken, all, lightTaken, lightAll }) {
  const rows = [{ name: worker.accelerator === `${all} gpu` ? "GPUs in use" : "slots taken", taken, all }];
  if (lightAll) rows.push({ name: "taken for imports, evaluations, exports", taken: lightTaken, all: lightAll });
  element.hidden = !worker.is_alive;
  const create = () => h("span", { class: "slot-row" });
  reconcile(element, rows, { key: (row) => row.name, create, update: fillSlots });
}

function fillSlots(element, { name, taken, all }) {
  const text = `${taken} of ${all} ${name}`;
  if (element.dataset.text === text) return;
  element.dataset.text = text;
  const box = (_, at) => h("span", { class: ["slot", at < taken && "slot-taken"], "aria-hidden": "true" });
  const boxes = Array.from({ length: Math.min(all, MAX_BOXES) }, box);
  element.replaceChildren(...boxes, text);
}

/** Of GPUs the fullest, of a host the sum of what its trainers hold. */
function showMemory(element, worker, jobs) {
  const held = worker.running_job_ids.map((id) => jobs.get(id)?.progress?.memory_bytes).filter(Boolean);
  element.hidden = !held.length || !worker.memory_bytes;
  if (element.hidden) return;
  const hasGpu = worker.accelerator.endsWith("gpu");
  const used = hasGpu ? Math.max(...held) : held.reduce((sum, one) => sum + one, 0);
  const text = `${bytes(used)} of ${bytes(worker.memory_bytes)} in use${hasGpu ? " on the fullest GPU" : ""}`;
  element.firstChild.value = Math.min(1, used / worker.memory_bytes);
  setAttribute(element.firstChild, "aria-label", "memory in use");
  setText(element.lastChild, text);
}

function jobLine({ id }) {
  const link = h("a", { class: "what", href: `/jobs/${id}`, title: id });
  const left = h("span", { class: "left" });
  const bar = progressBar({ status: "running" });
  const owner = h("span", { class: "left" });
  const line = h("li", { class: "worker-job" }, link, owner, bar, left);
  parts.set(line, { link, left, bar, owner });
  return line;
}

function fillJobLine(line, { id, job }) {
  const { link, left, bar, owner } = parts.get(line);
  bar.hidden = !job;
  setText(link, job ? [job.kind, modelText(job) || shortId(id)].join(" ") : `A job of somebody else (${shortId(id)})`);
  if (!job) return;
  setText(owner, job.created_by);
  updateProgress(bar, job);
  setText(left, workText(job));
}

async function toggleDraining({ worker, drain }, onChanged) {
  const action = worker.draining ? "undrain" : "drain";
  if (action === "drain" && !(await confirmAction(questionOf(worker)))) return;
  try {
    onChanged(await busy(drain, send("POST", `/v1/workers/${encodeURIComponent(worker.name)}:${action}`)));
    toast(action === "drain" ? `${worker.name} takes no new jobs.` : `${worker.name} takes jobs again.`);
  } catch (problem) {
    toast(`${worker.name} is as it was: ${problem.detail || problem.message}`, "bad");
  }
}

function questionOf(worker) {
  const count = worker.running_job_ids.length;
  const jobs = `${count} ${count === 1 ? "job" : "jobs"}`;
  const rest = count ? `What it runs now goes on to its end: ${jobs}.` : "It runs nothing now.";
  const text = `It takes no new jobs until it is undrained. ${rest}`;
  return { title: `Drain ${worker.name}?`, text, confirm: "Drain" };
}
