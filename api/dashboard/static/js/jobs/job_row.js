/** One row of the list: made once, changed in place. */

import { h, setAttribute, setText } from "../core/dom.js";
import { age, shortId, timeElement, words } from "../core/format.js";
import {
  actionsFor,
  datasetText,
  outcomeText,
  progressBar,
  queuePlace,
  queueStart,
  reasonText,
  statusBadge,
  stepText,
  tookText,
  updateBadge,
  updateProgress,
  workText,
} from "../core/jobs.js";

const parts = new WeakMap();

/** An empty row for a job; `updateRow` fills it. */
export function createRow(job) {
  const made = {
    select: h("input", { type: "checkbox", "aria-label": `Select ${job.id}` }),
    badge: statusBadge(job),
    link: h("a", { class: "first mono", href: `/jobs/${job.id}`, title: job.id }, shortId(job.id)),
    kind: h("span", { class: "second" }),
    model: h("span", { class: "first" }),
    backbone: h("span", { class: "second" }),
    dataset: h("span", { class: "first" }),
    bar: progressBar(job),
    said: h("span", { class: "said" }),
    why: h("span", { class: "second" }),
    age: timeElement(job.created_at, age(job.created_at)),
    took: h("span"),
  };
  const row = h(
    "tr",
    { role: "row", dataset: { id: job.id } },
    h("td", { role: "cell", class: "select" }, made.select),
    h("td", { role: "cell", class: "status" }, made.badge),
    h("td", { role: "cell", class: "job" }, made.link, made.kind),
    h("td", { role: "cell", class: "model" }, made.model, made.backbone),
    h("td", { role: "cell", class: "dataset" }, made.dataset),
    h("td", { role: "cell", class: "progress-cell" }, made.bar, made.said, made.why),
    h("td", { role: "cell", class: "owner", title: job.created_by }, job.created_by),
    h("td", { role: "cell", class: "age" }, made.age),
    h("td", { role: "cell", class: "took" }, made.took),
  );
  parts.set(row, made);
  return row;
}

/** Makes a row say what the job says now; `selected`: whether it is ticked. */
export function updateRow(row, job, selected) {
  const made = parts.get(row);
  updateBadge(made.badge, job);
  setText(made.kind, job.kind);
  showModel(made, job);
  setText(made.dataset, datasetText(job));
  showProgress(made, job);
  setText(made.age, age(job.created_at));
  setText(made.took, tookText(job));
  showSelection(row, made.select, job, selected);
}

function showModel({ model, backbone }, job) {
  const wanted = job.spec.model ?? job.spec.source?.model ?? {};
  const version = job.result?.model?.version ?? wanted.version;
  setText(model, wanted.name);
  setText(backbone, joined(" ", version && `v${version}`, wanted.backbone ?? wanted.alias));
}

function showProgress({ bar, said, why }, job) {
  updateProgress(bar, job);
  if (job.status !== "running") bar.hidden = job.status !== "paused" || !job.progress;
  const [text, detail] = sentences[job.status](job);
  setText(said, text);
  setText(why, detail);
  setAttribute(said, "title", text || null);
  said.classList.toggle("bad", job.status === "failed");
}

/** What the list says of a job in each status, and one thing more about it. */
const sentences = {
  queued: (job) => [joined(", ", queuePlace(job), queueStart(job)), reasonText(job.queue?.reason)],
  running: (job) => [workText(job), ""],
  paused: (job) => [stepText(job), ""],
  succeeded: (job) => [outcomeText(job), ""],
  failed: (job) => [job.error?.message ?? "", words(job.error?.code)],
  cancelled: (job) => [job.attempt ? "" : "before it started", ""],
};

function joined(separator, ...texts) {
  return texts.filter(Boolean).join(separator);
}

function showSelection(row, box, job, selected) {
  const possible = actionsFor(job).includes("cancel");
  if (box.disabled === possible) box.disabled = !possible;
  box.hidden = !possible;
  if (box.checked !== selected) box.checked = selected;
  row.classList.toggle("selected", selected);
}
