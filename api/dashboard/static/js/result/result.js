/** What an evaluation of a job says: headline, map, errors, calibration, breakdowns, receivers, suspects. */

import { get } from "../core/api.js";
import { h, replace, showEmpty, showProblem } from "../core/dom.js";
import { number } from "../core/format.js";
import { drawCalibration, drawErrors } from "./curves.js";
import { BASELINES, readSessions } from "./evaluation.js";
import { headline } from "./headline.js";
import { mountMap } from "./map.js";
import { drawReceivers, heardTable, snrTable } from "./tables.js";

const mounted = new WeakMap();

/**
 * Shows the result of a job in an element; a second call with the same job changes nothing until it has ended.
 *
 * Resolves to whether there was an evaluation to show.
 */
export async function mountResult(element, { jobId }) {
  if (mounted.get(element) === jobId) return true;
  try {
    const job = await get(`/v1/jobs/${jobId}`);
    const report = job.result?.report ?? null;
    if (!report) return withoutReport(element, job);
    await showReport(element, jobId, report);
    mounted.set(element, jobId);
    return true;
  } catch (problem) {
    showProblem(element, problem, () => mountResult(element, { jobId }));
    return false;
  }
}

function withoutReport(element, job) {
  if (!job.is_terminal) showEmpty(element, "The result appears here when the evaluation has ended.");
  else showEmpty(element, `This job has no evaluation: it is of kind ${job.kind} and ${job.status}.`);
  return false;
}

async function showReport(element, jobId, report) {
  const parts = partsOf(report);
  replace(element, h("div", { class: "result" }, Object.values(parts).map(({ section }) => section)));
  replace(parts.numbers.body, ...headline(report));
  if (parts.heard) replace(parts.heard.body, heardTable(report.by_receivers_heard));
  if (parts.snr) replace(parts.snr.body, snrTable(report.by_snr_db));
  if (parts.receivers) drawReceivers(parts.receivers.body, report.by_receiver_removed);
  const map = await showSessions(parts, jobId);
  if (parts.suspects) {
    const onChoose = (id) => showOnMap(parts.map.section, map, id);
    const { mountSuspects } = await import("./suspects.js");
    await mountSuspects(parts.suspects.body, { jobId, suspects: report.suspects, onChoose });
  }
}

function partsOf(report) {
  const heardBy = report.by_receivers_heard ?? [];
  const hasAblation = (report.by_receiver_removed ?? []).some((one) => one.change !== null);
  const all = {
    numbers: part("Result", "result-numbers"),
    map: part(`Where the ${number(report.num_sessions)} ${report.split} sessions were put`, "result-map"),
    errors: part("Errors", "result-errors", "Share of sessions within each error."),
    calibration: part("Calibration", "result-calibration", calibrationText(report.calibration)),
    heard: heardBy.length ? part("By receivers that heard", "result-heard") : null,
    snr: report.by_snr_db?.length ? part("By signal strength", "result-snr") : null,
    receivers: hasAblation
      ? part("What each receiver contributes", "result-receivers", "Grey: the interval holds 0, so nothing is shown either way.")
      : null,
    suspects: report.suspects?.count
      ? part(`Suspected labels: ${number(report.suspects.count)}`, "result-suspects")
      : null,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null));
}

function part(title, name, hint) {
  const body = h("div", { class: "result-body" });
  const id = `${name}-title`;
  const section = h(
    "section",
    { class: ["panel", "result-part", name], "aria-labelledby": id },
    h("h2", { id }, title),
    body,
    hint && h("p", { class: "hint" }, hint),
  );
  return { section, body };
}

/** The parts that need every session; resolves to the map, or null. */
async function showSessions(parts, jobId) {
  const bodies = [parts.map.body, parts.errors.body, parts.calibration.body];
  bodies.forEach((body) => body.classList.add("skeleton"));
  try {
    const evaluation = await readSessions(jobId);
    return evaluation ? drawSessions(parts, evaluation) : showPictures(parts, jobId);
  } catch (problem) {
    showProblem(parts.map.body, problem, () => showSessions(parts, jobId));
    return null;
  } finally {
    bodies.forEach((body) => body.classList.remove("skeleton"));
  }
}

function drawSessions(parts, evaluation) {
  const curves = Object.entries(evaluation.errors).map(([name, errors]) => ({
    name: name === "model" ? "this model" : BASELINES[name] ?? name,
    errors,
    isMain: name === "model",
  }));
  drawErrors(parts.errors.body, curves);
  drawCalibration(parts.calibration.body, evaluation.sessions);
  return mountMap(parts.map.body, evaluation);
}

/** Of a job from before its sessions were kept. */
function showPictures(parts, jobId) {
  const picture = (name, alt) => h("img", { class: "result-picture", src: `/v1/jobs/${jobId}/artifacts/${name}`, alt });
  replace(parts.map.body, picture("map.png", "Map of receivers, true and predicted positions"));
  replace(parts.errors.body, picture("error_cdf.png", "Share of sessions within each error, model and baselines"));
  replace(parts.calibration.body, picture("calibration.png", "Observed against promised coverage"));
  return null;
}

function showOnMap(section, map, id) {
  map?.choose(id);
  section.scrollIntoView();
}

function calibrationText(calibration) {
  if (!calibration) return "The model was evaluated as it is served.";
  const scale = number(calibration.sigma_scale, 2);
  return `Every σ was multiplied by ${scale}, fitted on ${number(calibration.num_sessions)} validation sessions.`;
}
