/** Links from a job to what it comes from and what came of it. */

import { viewer } from "../core/api.js";
import { h } from "../core/dom.js";
import { shortId } from "../core/format.js";

/** The job's own page. */
export function jobLink(id) {
  return h("a", { href: `/jobs/${encodeURIComponent(id)}`, class: "mono", title: id }, shortId(id));
}

/** The dataset version's page; null: no dataset. */
export function datasetLink(dataset) {
  if (!dataset) return null;
  if (!dataset.version) return dataset.name;
  return h("a", { href: `/datasets/${encodeURIComponent(dataset.name)}/versions/${dataset.version}` }, `${dataset.name} v${dataset.version}`);
}

/** The model's page; one that a job is still to make has none yet. */
export function modelLink(model, job) {
  if (!model?.name) return null;
  const text = model.version ? `${model.name} v${model.version}` : model.name;
  const exists = model.version || job.status === "succeeded";
  return exists ? h("a", { href: modelPath(model) }, text) : text;
}

/** Where a model, or one of its versions, is shown. */
export function modelPath(model) {
  return `/models/${encodeURIComponent(model.name)}${model.version ? `?version=${model.version}` : ""}`;
}

/** "you" or the owner's name. */
export function actorName(owner) {
  return owner === viewer.owner ? `${owner} (you)` : owner;
}
