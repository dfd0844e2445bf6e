/** One recording session: facts, receivers, approval, spectrograms, and what the last training made of it. */

import { get, may, Problem, request, send, withQuery } from "../core/api.js";
import { $, busy, confirmAction, h, replace, setText, showProblem, toast } from "../core/dom.js";
import { bytes, duration, fixed, metres, number, shortId, timeElement } from "../core/format.js";
import { drawMap } from "./map.js";
import { distance } from "./plane.js";
import { spectrograms } from "./spectrogram.js";
import { approvalBadge, count, flagMeaning, flagText, megahertz, placeText } from "./wording.js";

const PATIENCE_MS = 90_000;
const LARGEST_RESIDUALS = 12e6;
const id = $("#recording").dataset.sessionId;
const path = `/v1/recording-sessions/${id}`;

async function start() {
  try {
    const session = await get(path);
    show(session);
    const receivers = await get("/v1/receivers").then((found) => found.data, () => []);
    drawPlaces(session, receivers);
    showHeard(session, receivers);
    loadSpectrogram(0);
    offerResidual();
  } catch (problem) {
    showProblem($("#trouble"), problem, problem.status === 404 ? null : () => location.reload());
    if (problem.status === 404) setText($("#name"), "No such recording session");
  }
}

function show(session) {
  document.title = `${session.name} · Heimdall`;
  setText($("#name"), session.name);
  $("#body").hidden = false;
  showApproval(session);
  const source = session.source;
  replace(
    $("#facts"),
    session.flags.length > 0 && h("div", { class: "notice notice-warn data-flags" }, h("ul", {}, session.flags.map((flag) => h("li", {}, h("strong", {}, `${flagText(flag)}: `), flagMeaning(flag))))),
    h(
      "dl",
      { class: "kv" },
      fact("Source", source ? sourceLink(source) : "not known"),
      fact("Position", source ? placeText(source.latitude, source.longitude) : "not known"),
      source?.error_margin_m > 0 && fact("Known within", metres(source.error_margin_m)),
      fact("Frequency", megahertz(source?.frequency_hz)),
      source?.power_dbm !== null && source?.power_dbm !== undefined && fact("Power", `${number(source.power_dbm, 1)} dBm EIRP`),
      fact("Began", timeElement(session.started_at)),
      fact("Length", duration(session.duration_seconds)),
      fact("Heard by", count(session.num_recordings, "receiver")),
      session.group && fact("Group", session.group),
      session.import_job_id && fact("Import", h("a", { href: `/jobs/${session.import_job_id}`, class: "mono" }, shortId(session.import_job_id)), " ", h("a", { href: withQuery("/recordings", { import_job_id: session.import_job_id }) }, "its sessions")),
      session.archive && fact("Archive", archiveLink(session.archive)),
      fact("Id", h("code", {}, session.id)),
    ),
  );
}

function fact(name, ...value) {
  return [h("dt", {}, name), h("dd", {}, value)];
}

function sourceLink(source) {
  return h("a", { href: withQuery("/recordings", { source: source.name }), title: "All sessions of this source" }, source.name);
}

function archiveLink(archive) {
  return [h("a", { href: archive.download_url, rel: "noreferrer" }, `SigMF, ${bytes(archive.bytes)}`), " ", h("code", { class: "hint", title: archive.sha256 }, `sha256 ${archive.sha256.slice(0, 12)}`)];
}

function showApproval(session) {
  replace($("#approval"), approvalBadge(session.approval_status));
  if (!may("recordings:write")) return;
  const button = (status, label, style) =>
    session.approval_status !== status && h("button", { type: "button", class: `button ${style}`, on: { click: (event) => judge(status, event.currentTarget) } }, label);
  replace($("#actions"), button("rejected", "Reject", "button-danger"), button("approved", "Approve", "button-primary"));
}

async function judge(status, button) {
  if (status === "rejected") {
    const sure = await confirmAction({ title: "Reject this session?", text: "It is left out of the dataset versions that are frozen from now on; those that have it keep it.", confirm: "Reject", danger: true });
    if (!sure) return;
  }
  try {
    const changed = await busy(button, send("PATCH", path, { approval_status: status }));
    showApproval(changed);
    toast(`Session ${status}`);
  } catch (problem) {
    showProblem($("#trouble"), problem);
  }
}

function drawPlaces(session, receivers) {
  const source = session.source ?? {};
  const places = isPlace(source) ? [{ latitude: source.latitude, longitude: source.longitude, kind: "source", title: source.name }] : [];
  const heard = new Set(session.recordings.map((recording) => recording.receiver));
  const all = receivers.length ? receivers : session.recordings.map((one) => ({ name: one.receiver, latitude: one.latitude, longitude: one.longitude }));
  const marked = all.map((one) => ({ ...one, isSilent: !heard.has(one.name) }));
  drawMap($("#map"), { places, receivers: marked, lines: false, label: `Map of ${source.name ?? "the session"} and ${count(all.length, "receiver")}` });
}

function isPlace({ latitude, longitude }) {
  return latitude !== null && latitude !== undefined && longitude !== null && longitude !== undefined;
}

function showHeard(session, receivers) {
  const rows = [...session.recordings].sort((a, b) => (b.snr_db ?? -Infinity) - (a.snr_db ?? -Infinity));
  const heard = new Set(rows.map((row) => row.receiver));
  const silent = receivers.filter((receiver) => !heard.has(receiver.name)).map((receiver) => receiver.name);
  const head = ["Receiver", "Distance", "SNR", "Noise floor", "Sample rate", "Samples", "Format", "Download"];
  replace(
    $("#heard"),
    rows.length
      ? h("div", { class: "table-wrap" }, h("table", { class: "table" }, h("thead", {}, h("tr", {}, head.map((name, place) => h("th", { scope: "col", class: place > 0 && place < 6 ? "numeric" : "" }, name)))), h("tbody", {}, rows.map((row) => heardRow(row, session.source ?? {})))))
      : h("p", {}, "No recording of this session has a checksum, a byte range and a known format: it cannot train."),
    silent.length > 0 && h("p", { class: "hint data-silent" }, `Heard nothing, or took no part: ${silent.slice(0, 12).join(", ")}${silent.length > 12 ? ` and ${number(silent.length - 12)} more` : ""}. To the network they are silent.`),
  );
}

function heardRow(recording, source) {
  const away = isPlace(source) ? distance(source, recording) : null;
  const link = recording.download_url ? h("a", { href: recording.download_url, rel: "noreferrer", title: `sha256 ${recording.sha256}` }, bytes(recording.num_bytes)) : "–";
  const cells = [
    metres(away),
    recording.snr_db === null ? "–" : `${fixed(recording.snr_db, 1)} dB`,
    recording.noise_floor_dbfs === null ? "not stated" : `${fixed(recording.noise_floor_dbfs, 1)} dBFS`,
    recording.sample_rate_hz ? `${number(recording.sample_rate_hz / 1000, 1)} kHz` : "–",
    number(recording.num_samples),
  ];
  return h("tr", {}, h("th", { scope: "row" }, recording.receiver), cells.map((cell) => h("td", { class: "numeric" }, cell)), h("td", {}, recording.format ?? "–"), h("td", {}, link));
}

/** Asks until it is made: the first look at a session takes a worker a moment. */
async function loadSpectrogram(segment) {
  const element = $("#spectrograms");
  replace(element, h("p", { class: "data-making", role: "status" }, "A worker is making the spectrograms…"));
  try {
    const found = await untilMade(segment, performance.now() + PATIENCE_MS);
    replace(element, spectrograms(found));
    showSegments(found);
  } catch (problem) {
    showProblem(element, problem, () => loadSpectrogram(segment));
  }
}

async function untilMade(segment, deadline) {
  for (;;) {
    const response = await request(`${path}/spectrogram`, { params: { segment } });
    if (response.status === 200) return response.json();
    if (performance.now() > deadline) throw new Problem(503, { title: "No worker has made it", detail: "The spectrograms are still not there.", hint: "See the workers page: one may be busy or away." });
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    await new Promise((resolve) => setTimeout(resolve, seconds * 700));
  }
}

function showSegments(found) {
  if (found.num_segments < 2) return;
  const go = (step) => loadSpectrogram(found.segment + step);
  const button = (step, label, text, isOff) => h("button", { type: "button", class: "button button-quiet button-small", disabled: isOff, "aria-label": label, on: { click: () => go(step) } }, text);
  replace(
    $("#segments"),
    button(-1, "The segment before", "‹", found.segment === 0),
    ` Segment ${number(found.segment + 1)} of ${number(found.num_segments)} `,
    button(1, "The next segment", "›", found.segment + 1 >= found.num_segments),
  );
}

/** The residuals of the newest training lie in a file of all its sessions: it is read when somebody wants it. */
async function offerResidual() {
  if (!may("jobs:read")) return;
  const found = await newestResiduals().catch(() => null);
  if (!found) return;
  const { job, artifact } = found;
  const panel = $("#residual-panel");
  panel.hidden = false;
  const link = h("a", { href: `/jobs/${job.id}`, class: "mono" }, shortId(job.id));
  const ask = h("button", { type: "button", class: "button", on: { click: (event) => busy(event.currentTarget, showResidual(found)) } }, `Look it up (${bytes(artifact.bytes)})`);
  replace($("#residual"), h("p", {}, "The training ", link, " kept an error for every session of its dataset. "), ask);
}

async function newestResiduals() {
  const jobs = await get("/v1/jobs", { params: { kind: "train", status: "succeeded", limit: 3 } });
  for (const job of jobs.data) {
    const files = await get(`/v1/jobs/${job.id}/artifacts`);
    const artifact = files.data.find((file) => file.name === "residuals.json");
    if (artifact && artifact.bytes < LARGEST_RESIDUALS) return { job, artifact };
  }
  return null;
}

async function showResidual({ job, artifact }) {
  const element = $("#residual");
  try {
    const all = await get(`/v1/jobs/${job.id}/artifacts/${artifact.name}`);
    const row = all.sessions.find((session) => session.session_id === id);
    replace(element, row ? residualFacts(row, job) : h("p", {}, "This session was not in the dataset of ", h("a", { href: `/jobs/${job.id}` }, shortId(job.id)), "."));
  } catch (problem) {
    showProblem(element, problem, () => showResidual({ job, artifact }));
  }
}

function residualFacts(row, job) {
  const isLikely = row.p_value > 1e-3;
  const fitted = row.trained_on === true ? "yes: a small error proves nothing" : row.trained_on === false ? "no" : "not known";
  return h(
    "dl",
    { class: "kv" },
    fact("Training", h("a", { href: `/jobs/${job.id}`, class: "mono" }, shortId(job.id))),
    fact("Split", row.split),
    fact("Fitted to this label", fitted),
    fact("Error", metres(row.error_m)),
    fact("Predicted uncertainty", `${metres(row.sigma_east_m)} east, ${metres(row.sigma_north_m)} north`),
    fact("Probability of such an error", h("span", {}, `${Number(row.p_value.toPrecision(2))} `, !isLikely && h("span", { class: "badge badge-warn" }, "improbable: look at the label"))),
    fact("To the sessions most alike", metres(row.neighbours_m)),
  );
}

start();
