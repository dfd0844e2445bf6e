/** What every page shows of a job, and what can be asked of it. */

import { may, viewer } from "./api.js";
import { h, setAttribute, setText } from "./dom.js";
import { age, duration, metres, number, words } from "./format.js";

/** Statuses of jobs that have not ended. */
export const ACTIVE = new Set(["queued", "running", "paused"]);

const ROUGH_FROM_SECONDS = 600;

const REASONS = {
  not_before: "waits for its time",
  quota: "its owner runs as many as one may",
  no_worker: "no live worker can run it",
  accelerator_busy: "every slot is taken",
  starting: "a slot is free",
};

/** What is asked of a job and not done yet: "cancelling", "pausing", "finishing", or null. */
export function pendingRequest(job) {
  if (!ACTIVE.has(job.status)) return null;
  if (job.cancel_requested_at) return "cancelling";
  if (job.status !== "running") return null;
  if (job.pause_requested_at) return "pausing";
  return job.finish_requested_at ? "finishing" : null;
}

/** The status as a badge. */
export function statusBadge(job) {
  return updateBadge(h("span", {}), job);
}

/** Changes a badge in place. */
export function updateBadge(element, job) {
  setAttribute(element, "class", `badge badge-${job.status}`);
  setText(element, pendingRequest(job) ?? job.status);
  return element;
}

/** How far the job is, as a native progress element with words for those who do not see it. */
export function progressBar(job) {
  return updateProgress(h("progress", { class: "progress", max: 100 }), job);
}

/** Changes a progress element in place. */
export function updateProgress(element, job) {
  const value = percentOf(job);
  element.hidden = value === null && job.status !== "running";
  if (value === null) element.removeAttribute("value");
  else if (element.value !== value || !element.hasAttribute("value")) element.value = value;
  setAttribute(element, "aria-label", value === null ? "progress unknown" : `${number(value)} % done`);
  return element;
}

/** Percent done, or null where nothing is known. */
export function percentOf(job) {
  if (job.status === "succeeded") return 100;
  return job.progress?.percent ?? null;
}

/** "epoch 3 of 12", "step 40 of 90", or "". */
export function stepText(job) {
  const { epoch, epochs, step, steps } = job.progress ?? {};
  if (isKnown(epoch) && epochs) return `epoch ${epoch} of ${epochs}`;
  return isKnown(step) && steps ? `step ${number(step)} of ${number(steps)}` : "";
}

/** What a running job is at: "training · epoch 3 of 12 · 2 min left". */
export function workText(job) {
  const isCounting = job.kind !== "train" || job.phase === "training";
  const phase = pendingRequest(job) ? "" : words(job.phase);
  return [phase, isCounting ? stepText(job) : "", etaText(job)].filter(Boolean).join(" · ");
}

/** The time that is left, or "". */
export function etaText(job) {
  const seconds = job.status === "running" ? job.progress?.eta_seconds : null;
  if (!isKnown(seconds)) return "";
  const size = seconds < ROUGH_FROM_SECONDS ? 1 : 60;
  return `${duration(Math.max(1, Math.round(seconds / size) * size))} left`;
}

/** Where a queued job stands and why: "3rd in the queue: every slot is taken", else "". */
export function queueText(job) {
  if (!job.queue) return "";
  return [`${queuePlace(job)}: ${reasonText(job.queue.reason)}`, queueStart(job)].filter(Boolean).join(", ");
}

/** "3rd in the queue", or "" for a job that is not queued. */
export function queuePlace(job) {
  if (!job.queue) return "";
  return job.queue.position === 1 ? "next in the queue" : `${ordinal(job.queue.position)} in the queue`;
}

/** "starts in about 5 min", or "" where nothing is known. */
export function queueStart(job) {
  const start = job.queue?.estimated_start_at;
  const seconds = start ? (Date.parse(start) - Date.now()) / 1000 : 0;
  return seconds > 1 ? `starts in about ${roughly(seconds)}` : "";
}

/** Why a queued job waits, in words. */
export function reasonText(reason) {
  return REASONS[reason] ?? words(reason);
}

/** "localization micro", or what an export or evaluation reads; "" where there is no model. */
export function modelText(job) {
  const model = job.spec.model ?? job.spec.source?.model;
  if (!model) return "";
  const version = isKnown(model.version) ? `v${model.version}` : model.alias;
  return [model.name, version, model.backbone].filter(Boolean).join(" ");
}

/** "northwest v3", or "". */
export function datasetText(job) {
  const dataset = job.spec.dataset;
  if (!dataset) return "";
  return isKnown(dataset.version) ? `${dataset.name} v${dataset.version}` : dataset.name;
}

/** How long it runs or ran; "" before it starts. */
export function tookText(job) {
  if (!job.started_at) return "";
  if (!job.finished_at) return age(job.started_at);
  return duration((Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000);
}

/** What came of a succeeded job, in its most telling figure: of a training that of the test split; else "". */
export function outcomeText(job) {
  const { metrics, session_count: sessions } = job.result ?? {};
  if (isKnown(metrics?.median_error_m)) return `median error ${metres(metrics.median_error_m)}`;
  return isKnown(sessions) ? `${number(sessions)} sessions` : "";
}

/** Which of cancel, finish, pause, resume and retry the viewer can ask of the job now. */
export function actionsFor(job) {
  if (!may("jobs:write")) return [];
  const isOwn = viewer.is_admin || viewer.owner === job.created_by;
  if (!ACTIVE.has(job.status)) return ["retry"];
  return isOwn ? POSSIBLE[job.status](job) : [];
}

const POSSIBLE = {
  queued: () => ["cancel"],
  paused: () => ["resume", "cancel"],
  running: (job) => {
    if (job.cancel_requested_at) return [];
    const isFree = !job.pause_requested_at && !job.finish_requested_at;
    return job.kind === "train" && isFree ? ["finish", "pause", "cancel"] : ["cancel"];
  },
};

/** In the largest unit alone: an estimate is no more exact. */
function roughly(seconds) {
  return duration(Math.round(seconds)).split(" ").slice(0, 2).join(" ");
}

function ordinal(n) {
  const tail = n % 100 > 10 && n % 100 < 14 ? "th" : { 1: "st", 2: "nd", 3: "rd" }[n % 10] ?? "th";
  return `${number(n)}${tail}`;
}

function isKnown(value) {
  return value !== null && value !== undefined;
}
