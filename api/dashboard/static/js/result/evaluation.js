/** What a job's evaluation says, session by session. */

import { get } from "../core/api.js";

const FILE = "sessions.json";
const RESIDUALS = "residuals.json";
const MOST_BYTES = 8e6;

/** Names of the baselines as people read them. */
export const BASELINES = {
  train_mean: "train mean",
  weighted_centroid: "weighted centroid",
  knn: "kNN (15)",
  log_distance_grid: "log-distance grid",
};

/** Squared Mahalanobis radius of the ellipse that holds a share of a Gaussian: -2 ln(1 - p). */
export function squaredRadius(share) {
  return -2 * Math.log(1 - share);
}

/** The sessions that a job evaluated: {split, receivers, sessions, errors}; null: an older job has no such file. */
export async function readSessions(jobId) {
  const isKept = (await filesOf(jobId)).has(FILE);
  return isKept ? fromColumns(await get(`/v1/jobs/${jobId}/artifacts/${FILE}`)) : null;
}

/** [{id, source, isFitted, error}] of the split that a job evaluated; null: it kept none. */
export async function readErrors(jobId, split) {
  const files = await filesOf(jobId);
  if (files.has(FILE)) return (await readSessions(jobId)).sessions;
  if (!files.has(RESIDUALS)) return null;
  const file = await get(`/v1/jobs/${jobId}/artifacts/${RESIDUALS}`);
  const rows = file.sessions.filter((row) => row.split === split);
  return rows.map((row) => ({ id: row.session_id, source: null, isFitted: row.trained_on === true, error: row.error_m }));
}

/** The labels that are improbable, the least probable first; null: there is no file of them, or it is too large. */
export async function readSuspects(jobId) {
  const size = (await filesOf(jobId)).get(RESIDUALS) ?? Infinity;
  return size <= MOST_BYTES ? (await get(`/v1/jobs/${jobId}/artifacts/${RESIDUALS}`)).suspects : null;
}

/** How many sessions lie within each error: {x, y} of at most `limit` steps. */
export function distribution(errors, limit = 600) {
  const ordered = Float64Array.from(errors).sort();
  const step = Math.max(1, ordered.length / limit);
  const x = [0];
  const y = [0];
  for (let place = step; place < ordered.length + 0.5; place += step) {
    const last = Math.min(Math.round(place), ordered.length);
    x.push(ordered[last - 1]);
    y.push(last / ordered.length);
  }
  return { x, y };
}

/** The value below which a share of the values lie, linearly interpolated; null of none. */
export function quantile(values, share) {
  if (!values.length) return null;
  const ordered = Float64Array.from(values).sort();
  const place = share * (ordered.length - 1);
  const low = Math.floor(place);
  const high = Math.min(low + 1, ordered.length - 1);
  return ordered[low] + (place - low) * (ordered[high] - ordered[low]);
}

/** Name to bytes. */
async function filesOf(jobId) {
  return new Map((await get(`/v1/jobs/${jobId}/artifacts`)).data.map((file) => [file.name, file.bytes]));
}

function fromColumns(file) {
  const names = Object.keys(file.errors_m).filter((name) => name !== "model");
  const sessions = file.sessions.session_id.map((id, i) => sessionAt(file, names, id, i));
  return { split: file.split, receivers: file.receivers.map(receiverOf), sessions, errors: file.errors_m };
}

function sessionAt({ sessions: columns, errors_m: errors }, names, id, i) {
  const snr = columns.snr_db[i];
  const heard = snr.filter((value) => value !== null);
  return {
    id,
    source: columns.source[i],
    isFitted: columns.trained_on?.[i] === true,
    latitude: columns.latitude[i],
    longitude: columns.longitude[i],
    east: columns.east_km[i],
    north: columns.north_km[i],
    putEast: columns.predicted_east_km[i],
    putNorth: columns.predicted_north_km[i],
    sigmaEast: columns.sigma_east_m[i] / 1e3,
    sigmaNorth: columns.sigma_north_m[i] / 1e3,
    correlation: columns.correlation[i],
    squared: columns.squared_mahalanobis[i],
    error: errors.model[i],
    baselines: names.map((name) => [name, errors[name][i]]),
    snr,
    heard: heard.length,
    meanSnr: heard.length ? heard.reduce((sum, value) => sum + value, 0) / heard.length : null,
  };
}

function receiverOf({ name, east_km: east, north_km: north }) {
  return { name, east, north };
}
