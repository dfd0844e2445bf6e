/** The files that the job handed out, and its durable checkpoints, each with its checksum. */

import { get } from "../core/api.js";
import { h, replace, showEmpty, showProblem } from "../core/dom.js";
import { bytes, metres, number, timeElement, words } from "../core/format.js";
import { columnHead } from "./columns.js";
import { copyButton } from "./copying.js";

const SHOWN_DIGITS = 12;

/** Keeps both tables: files come with the success, checkpoints while it runs. */
export function mountFiles(panel, watch) {
  const artifacts = h("section", { class: "panel" });
  const checkpoints = h("section", { class: "panel" });
  panel.append(artifacts, ...(watch.job.kind === "train" ? [checkpoints] : []));
  const read = () => {
    readInto(artifacts, `${watch.path}/artifacts`, (rows) => showArtifacts(artifacts, rows, watch));
    if (watch.job.kind === "train") readInto(checkpoints, `${watch.path}/checkpoints`, (rows) => showCheckpoints(checkpoints, rows));
  };
  let seen = stateOf(watch);
  watch.on("event", () => {
    if (seen !== stateOf(watch)) read();
    seen = stateOf(watch);
  });
  read();
}

/** What has to change for there to be other files. */
function stateOf({ events }) {
  const telling = events.filter(({ event }) => event === "checkpoint.durable" || event === "job.succeeded");
  return telling.at(-1)?.id;
}

async function readInto(section, path, show) {
  try {
    show((await get(path)).data);
  } catch (problem) {
    showProblem(section, problem, () => readInto(section, path, show));
  }
}

function showArtifacts(section, rows, { job }) {
  const body = h("div", {});
  replace(section, h("h2", {}, "Files"), body);
  if (!rows.length) return showEmpty(body, job.is_terminal ? "This job handed out no files." : "A job hands out its files when it has succeeded.");
  return replace(body, table("Files", ["Name", "Kind", "Size", "SHA-256", "Download"], rows.map(artifactRow)));
}

function artifactRow(row) {
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, h("span", { class: "mono" }, row.name), factsText(row.facts)),
    h("td", {}, words(row.kind)),
    h("td", { class: "numeric" }, bytes(row.bytes)),
    h("td", {}, digest(row.sha256, row.name)),
    h("td", {}, h("a", { href: row.content_url, download: row.name, "aria-label": `Download ${row.name}` }, "Download")),
  );
}

/** What was verified of a model file. */
function factsText(facts) {
  if (!facts.parity) return null;
  const { max_difference: difference, latency_ms: latency } = facts.parity;
  const parts = [facts.precision, `opset ${facts.opset}`, `differs from PyTorch by at most ${difference.toExponential(1)}`, latency && `${number(latency, 2)} ms a session`];
  return h("p", { class: "hint" }, parts.filter(Boolean).join(", "));
}

function showCheckpoints(section, rows) {
  const body = h("div", {});
  replace(section, h("h2", {}, "Checkpoints"), body);
  if (!rows.length) return showEmpty(body, "No durable checkpoint yet; one is written after each of the first epochs and then every half minute.");
  return replace(body, table("Checkpoints", ["Epoch", "Step", "Validation", "Size", "SHA-256", "Written", "Download", "Id"], rows.map(checkpointRow)));
}

function checkpointRow(row) {
  const { val_loss: loss, val_median_error_m: error } = row.metrics;
  const values = [loss !== undefined && `loss ${number(loss, 3)}`, error !== undefined && metres(error)];
  return h(
    "tr",
    {},
    h("th", { scope: "row", class: "numeric" }, row.epoch),
    h("td", { class: "numeric" }, number(row.step)),
    h("td", {}, values.filter(Boolean).join(", ")),
    h("td", { class: "numeric" }, bytes(row.bytes)),
    h("td", {}, digest(row.sha256, `the checkpoint of step ${row.step}`)),
    h("td", {}, timeElement(row.created_at)),
    h("td", {}, h("a", { href: row.download_url, "aria-label": `Download the checkpoint of step ${row.step}` }, "Download")),
    h("td", { class: "mono nowrap" }, row.id, " ", copyButton(row.id, `Copy the id of the checkpoint of step ${row.step}`)),
  );
}

function digest(sha256, of) {
  return h("span", { class: "nowrap" }, h("code", { title: sha256 }, `${sha256.slice(0, SHOWN_DIGITS)}…`), " ", copyButton(sha256, `Copy the SHA-256 of ${of}`));
}

function table(label, heads, rows) {
  return h(
    "div",
    { class: "table-wrap", tabindex: 0, role: "group", "aria-label": label },
    h("table", { class: "table" }, h("thead", {}, h("tr", {}, heads.map(columnHead))), h("tbody", {}, rows)),
  );
}
