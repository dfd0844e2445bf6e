/** What two versions make of the same sessions, one by one. */

import { Problem, get, may, viewer } from "../core/api.js";
import { readErrors } from "../result/evaluation.js";

/**
 * The errors of two versions: {curves: [{name, errors}], common: [{id, source, errors: [a, b]}], names}; null: not to be seen.
 *
 * `found`: the comparison, whose jobs have met the same sessions if there are such; `versions`: both.
 */
export async function readPair(found, versions) {
  if (!versions.every(isVisible)) return null;
  const jobs = found.same_sessions?.job_ids ?? versions.map((one) => one.job_id);
  const read = await Promise.all(jobs.map(errorsOf));
  if (read.some((one) => one === null)) return null;
  const [first, second] = read.map((sessions) => new Map(sessions.filter((one) => !one.isFitted).map((one) => [one.id, one])));
  const common = [...first.values()].filter((one) => second.has(one.id));
  const isPaired = found.same_sessions !== null && common.length > 0;
  const curves = read.map((sessions, i) => ({
    name: `version ${versions[i].version}`,
    errors: (isPaired ? common.map(({ id }) => [first, second][i].get(id)) : sessions).map((one) => one.error),
    isMain: true,
  }));
  return {
    curves,
    common: common.map(({ id, source, error }) => ({ id, source, errors: [error, second.get(id).error] })),
    names: curves.map((one) => one.name),
  };
}

/** What belongs to other owners is asked for only by who sees everybody's jobs. */
function isVisible({ created_by: owner }) {
  return owner === viewer.owner || may("jobs:read:all");
}

async function errorsOf(jobId) {
  try {
    const job = await get(`/v1/jobs/${jobId}`);
    const report = job.result?.report;
    return report ? await readErrors(jobId, report.split) : null;
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return null;
    throw error;
  }
}
