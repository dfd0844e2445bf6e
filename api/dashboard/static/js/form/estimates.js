/** What the job would probably take, and what it refers to, beside the form. */

import { h, replace } from "../core/dom.js";
import { bytes, duration, metres, number, shortId, timeElement } from "../core/format.js";
import { reasonText } from "../core/jobs.js";

/** Shows the facts and estimates of a verdict. */
export function showEstimates(element, verdict) {
  const facts = [...queueFacts(verdict.estimates.queue), ...costs(verdict.estimates), ...references(verdict.facts)];
  const rows = facts.filter(Boolean).map(([name, ...value]) => [h("dt", {}, name), h("dd", {}, value)]);
  replace(element, rows.length ? h("dl", { class: "kv" }, rows) : h("p", { class: "hint" }, NOTHING));
}

const NOTHING = "Estimates come once the request is complete.";

function queueFacts(queue) {
  if (!queue) return [];
  const start = queue.estimated_start_at;
  return [
    ["In the queue", `position ${number(queue.position)}, ${reasonText(queue.reason)}`],
    ["Would start", start ? timeElement(start) : "unknown"],
  ];
}

function costs({ basis, num_like_jobs: like, duration_seconds: span, ...rest }) {
  const { seconds_per_epoch: epoch, samples_per_second: pace, memory } = rest;
  const known = () => `${spanText(span, duration)}, ${BASES[basis]?.(like) ?? basis}`;
  const took = span ? known() : "unknown: no such job has succeeded yet";
  return [
    ["Takes", took],
    epoch && ["Each epoch", spanText(epoch, duration)],
    pace && ["Pace", `${number(pace, 1)} sessions/s`],
    ...(memory ? memoryFacts(memory) : []),
  ];
}

const BASES = {
  history: (like) => `as ${number(like)} like job${like === 1 ? "" : "s"} did`,
  other_networks: () => "scaled from trainings of other backbones",
  formula: () => "by the size of the network",
};

function spanText({ p50, p90 }, told) {
  const [usual, long] = [told(p50), told(p90)];
  return usual === long ? `about ${usual}` : `about ${usual}, one in ten over ${long}`;
}

function memoryFacts({ basis, num_like_jobs: like, host_bytes: host, accelerator_bytes: gpu, ...seen }) {
  const { largest_worker_bytes: largest, ran_out_of_bytes: little } = seen;
  const source = BASES[basis]?.(like) ?? basis;
  return [
    host && ["Memory", `${spanText(host, bytes)}, ${source}`],
    gpu && ["Memory of each GPU", `${spanText(gpu, bytes)}, ${source}`],
    largest && ["Largest worker", bytes(largest)],
    little && ["Too little memory", `${bytes(little)}: such a batch ran out there`],
  ];
}

function references({ dataset, init_from: start, duplicate_of: twin }) {
  return [...(dataset ? datasetFacts(dataset) : []), start && startFacts(start), twin && twinFacts(twin)];
}

function datasetFacts({ name, version, sessions, receivers, separation }) {
  const href = `/datasets/${encodeURIComponent(name)}/versions/${version}`;
  const nearest = separation?.test?.smallest_m;
  return [
    ["Dataset", h("a", { href }, `${name} version ${version}`)],
    ["Sessions", `${number(sessions.train)} train, ${number(sessions.val)} val, ${number(sessions.test)} test`],
    ["Receivers", `${number(receivers.length)}: ${receivers.join(", ")}`],
    nearest !== undefined && ["Test from training", metres(nearest)],
  ];
}

function startFacts({ name, version, receivers_new: fresh, receivers_gone: gone }) {
  const told = (word, receivers) => (receivers.length ? `; ${word}: ${receivers.join(", ")}` : "");
  return ["Starts from", `${name} version ${version}`, told("new to it", fresh), told("no longer there", gone)];
}

function twinFacts({ job_id: id, status, model }) {
  const made = model ? `, made ${model.name} version ${model.version}` : "";
  return ["Same as", h("a", { href: `/jobs/${id}` }, shortId(id)), ` (${status}${made})`];
}
