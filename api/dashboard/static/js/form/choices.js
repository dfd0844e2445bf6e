/** What can be chosen: datasets, models, their versions and finished trainings, as the API lists them. */

import { may, pages } from "../core/api.js";
import { age, number, shortId } from "../core/format.js";

const MOST = 500;
const PAGED = { limit: 100 };
const seen = new Map();

/** By the kind of reference: the names that there are, and the versions of one; null where they cannot be listed. */
export const referable = {
  DatasetRef: { names: datasets, versions: datasetVersions, ofNone: "the newest" },
  ModelRef: { names: models, versions: modelVersions, ofNone: "the champion, else the newest" },
};

/** Datasets by name, with what their newest version holds. */
export function datasets() {
  return once("datasets:read", "/v1/datasets", PAGED, (one) => ({
    value: one.name,
    label: `${one.name} (version ${one.version}, ${splitText(one)})`,
    newest: one.version,
  }));
}

/** Models by name, with their champion. */
export function models() {
  return once("models:read", "/v1/models", PAGED, (one) => ({
    value: one.name,
    label: one.champion_version ? `${one.name} (champion: version ${one.champion_version})` : one.name,
    champion: one.champion_version,
  }));
}

/** The newest trainings that succeeded. */
export function trainings() {
  const filter = { ...PAGED, kind: "train", status: "succeeded", view: "brief" };
  return once("jobs:read", "/v1/jobs", filter, (job) => ({
    value: job.id,
    label: `${shortId(job.id)}, ${job.spec.model.name} ${job.spec.model.backbone}, ${age(job.created_at)} ago`,
  }));
}

function datasetVersions(name) {
  const path = `/v1/datasets/${encodeURIComponent(name)}/versions`;
  return once("datasets:read", path, {}, (one) => ({
    value: one.version,
    label: `${one.version} (${splitText(one)})`,
  }));
}

function modelVersions(name) {
  const path = `/v1/models/${encodeURIComponent(name)}/versions`;
  return once("models:read", path, {}, (one) => ({
    value: one.version,
    label: `${one.version}${one.aliases?.length ? ` (${one.aliases.join(", ")})` : ""}`,
  }));
}

function splitText({ counts }) {
  return `${number(counts.train)} / ${number(counts.val)} / ${number(counts.test)} sessions`;
}

/** Asked for once; a list that is refused or too long to choose from is null, and the next try asks again. */
function once(scope, path, params, convert) {
  if (!may(scope)) return Promise.resolve(null);
  if (!seen.has(path)) seen.set(path, listed(path, params, convert));
  return seen.get(path);
}

async function listed(path, params, convert) {
  const found = [];
  try {
    for await (const item of pages(path, params)) {
      found.push(convert(item));
      if (found.length >= MOST) break;
    }
  } catch (problem) {
    seen.delete(path);
    return problem.status === 404 ? [] : null;
  }
  return found;
}
