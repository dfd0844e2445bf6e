/** What the job is and how far it is, at the head of its page. */

import { $, h, reconcile, replace, setText } from "../core/dom.js";
import { age, duration, number, timeElement, words } from "../core/format.js";
import {
  etaText,
  outcomeText,
  pendingRequest,
  percentOf,
  queueText,
  stepText,
  updateBadge,
  updateProgress,
} from "../core/jobs.js";
import { actorName, datasetLink, jobLink, modelLink } from "./links.js";

const KINDS = { train: "Training", export: "Export", evaluate: "Evaluation", import: "Import" };
const PENDING = {
  cancelling: "Asked to cancel; it stops at its next safe point.",
  pausing: "Asked to pause; it checkpoints at its next safe point.",
  finishing: "Asked to finish; after this batch its best epoch is evaluated and exported.",
};
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const ICONS = { running: "▶", paused: "❚❚", succeeded: "✓", failed: "✕", cancelled: "■", queued: "…" };

/** Keeps the head of the page as the job is. */
export function mountHeader(root, watch) {
  const progress = makeProgress($("#progress", root));
  let told = null;
  watch.on("job", ({ job }) => {
    setText($("#title", root), titleOf(job));
    updateBadge($("#badge", root), job);
    progress.update(job);
    showFacts($("#facts", root), job);
    document.title = `${ICONS[job.status]} ${percentText(job)}${titleOf(job)} · Heimdall`;
    told = announce($("#announcement", root), job, told);
  });
  setInterval(() => watch.job && progress.update(watch.job), 1_000);
}

function titleOf(job) {
  const name = job.spec.model?.name ?? job.spec.source?.model?.name;
  return [KINDS[job.kind] ?? job.kind, name && `of ${name}`].filter(Boolean).join(" ");
}

function percentText(job) {
  return job.status === "running" && percentOf(job) !== null ? `${number(percentOf(job))} % ` : "";
}

/** Statuses are spoken, percentages are not. */
function announce(element, job, told) {
  const state = pendingRequest(job) ?? job.status;
  if (told !== null && told !== state) setText(element, `The job is ${state}.`);
  return state;
}

function makeProgress(element) {
  const bar = h("progress", { class: "progress", max: 100 });
  const line = h("p", { class: "progress-line" });
  const note = h("p", { class: "hint" });
  replace(element, bar, line, note);
  return {
    update(job) {
      updateProgress(bar, job);
      bar.hidden ||= job.status === "cancelled" || job.status === "succeeded" || job.status === "failed";
      showParts(line, progressParts(job));
      setText(note, PENDING[pendingRequest(job)] ?? "");
      note.hidden = !note.textContent;
    },
  };
}

function showParts(line, parts) {
  const items = parts.filter(Boolean).map((text, place) => ({ text, place }));
  reconcile(line, items, {
    key: (item) => item.place,
    create: () => h("span", {}),
    update: (element, item) => setText(element, item.text),
  });
}

function progressParts(job) {
  if (job.status === "queued") return [queueText(job) || "Waits for a worker"];
  if (job.status === "paused") return ["Checkpointed; it holds no worker until it is resumed."];
  if (job.status !== "running") return [endText(job)];
  const speed = job.progress?.samples_per_second;
  // Until the training goes on, what is known of epochs is of the attempt before.
  const hasSteps = job.kind !== "train" || job.phase === "training";
  return [
    job.phase && words(job.phase),
    percentOf(job) !== null && `${number(percentOf(job))} %`,
    hasSteps && stepText(job),
    hasSteps && etaText(job),
    hasSteps && speed && `${number(speed)} samples/s`,
    job.started_at && `runs for ${age(job.started_at)}`,
  ];
}

function endText(job) {
  if (!job.started_at) return `${capital(job.status)} before it began`;
  const seconds = (Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000;
  const outcome = job.kind === "import" ? "" : outcomeText(job);
  return [`${capital(job.status)} after ${duration(seconds)}`, outcome && `test ${outcome}`].filter(Boolean).join(" · ");
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function showFacts(element, job) {
  const facts = factsOf(job).filter(([, value]) => value);
  const text = JSON.stringify(facts.map(([name, value]) => [name, value.textContent ?? value]));
  if (element.dataset.shown === text) return;
  element.dataset.shown = text;
  replace(element, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function factsOf(job) {
  return [
    ["Dataset", datasetLink(job.spec.dataset)],
    ["Model", modelLink(job.result?.model ?? job.spec.model, job)],
    ["Backbone", job.spec.model?.backbone],
    ["Exports", modelLink(job.spec.source?.model, job)],
    ["Weights of", job.spec.source?.job_id && jobLink(job.spec.source.job_id)],
    ["Checkpoint", job.spec.source?.checkpoint_id && h("span", { class: "mono" }, job.spec.source.checkpoint_id)],
    ["Upload", job.spec.upload_id && h("span", { class: "mono" }, job.spec.upload_id)],
    ["By", actorName(job.created_by)],
    ["Queued", shortTime(job.created_at)],
    ["Began", job.started_at && shortTime(job.started_at)],
    ["Ended", job.finished_at && shortTime(job.finished_at)],
    ["Attempt", job.attempt > 1 && String(job.attempt)],
    ["Priority", job.priority === "normal" ? null : job.priority],
    ["Parent", job.kind !== "export" && job.parent_job_id && jobLink(job.parent_job_id)],
    ["Tags", tagsOf(job)],
  ];
}

/** Of today only the clock. */
function shortTime(iso) {
  const time = new Date(iso);
  const isToday = time.toDateString() === new Date().toDateString();
  return timeElement(iso, isToday ? `today, ${CLOCK.format(time)}` : DAY.format(time));
}

function tagsOf(job) {
  const tags = Object.entries(job.tags);
  if (!tags.length) return null;
  return h("span", { class: "tags" }, tags.map(([key, value]) => h("span", { class: "tag" }, value ? `${key}: ${value}` : key)));
}

