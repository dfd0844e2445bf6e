/** Everything about one version: where it comes from, what was verified, what the gate said, its files. */

import { h } from "../core/dom.js";
import { bytes, number, shortId, timeElement } from "../core/format.js";
import { fact, numeric, rowHead, tableOf } from "../result/elements.js";
import { datasetLink, pagePath } from "./versions.js";
import { gateNow, verdictTable, verdictText } from "./verdict.js";

const OUTCOMES = {
  promoted: "Promoted by its job",
  refused: "Kept out by the gate",
  waits: "Waits until the champion has been measured",
};

/** The panels about a version, as elements. */
export function versionPanels(version) {
  const making = h("div", { class: "version-making" }, lineagePanel(version), verificationPanel(version));
  return [making, gatePanel(version), filesPanel(version)];
}

function lineagePanel({ lineage, facts, created_at: at, created_by: owner, mlflow_run_id: run }) {
  const { parent } = lineage;
  const origin = parent && h("a", { href: pagePath(parent.name, parent.version) }, `${parent.name} v${parent.version}`);
  return panel(
    "Where it comes from",
    h(
      "dl",
      { class: "kv" },
      fact("Job", [lineage.job_kind, " ", h("a", { href: `/jobs/${lineage.job_id}`, class: "mono" }, shortId(lineage.job_id))]),
      fact("Dataset", datasetLink(lineage.dataset)),
      fact("Dataset digest", h("span", { class: "mono" }, lineage.dataset.digest.slice(0, 16))),
      parent && fact(parent.relation === "exported" ? "Weights of" : "Started from", origin),
      fact("Registered", [timeElement(at), ` by ${owner}`]),
      facts.backbone && fact("Backbone", facts.backbone),
      facts.num_parameters && fact("Parameters", number(facts.num_parameters)),
      facts.best_epoch && fact("Best epoch", number(facts.best_epoch)),
      run && fact("MLflow run", h("span", { class: "mono" }, run.slice(0, 12))),
    ),
  );
}

function verificationPanel({ verification, exports }) {
  const served = exports[0];
  if (!verification) return panel("Verification", h("p", {}, "It was not verified and cannot be promoted. Export it again."));
  return panel(
    "Verification",
    h(
      "dl",
      { class: "kv" },
      fact("Against the network", passedBadge(verification.passed)),
      fact("Largest difference", difference(verification)),
      isNumber(verification.median_error_change) &&
        fact("Median error changes by", `${number(verification.median_error_change * 100, 2)} %`),
      isNumber(verification.nll_change) && fact("NLL changes by", number(verification.nll_change, 4)),
      fact("One session takes", `${number(verification.latency_ms, 2)} ms on one core`),
      fact("Checked with", `${number(verification.num_samples)} sessions, ONNX Runtime ${verification.onnxruntime}`),
      served && fact("Served file", `${served.name}, ${served.precision}, opset ${served.opset}`),
    ),
  );
}

function passedBadge(passed) {
  return h("span", { class: passed ? "badge badge-ok" : "badge badge-bad" }, passed ? "passed" : "failed");
}

function difference({ max_difference: most, tolerance }) {
  const text = scientific(most);
  return isNumber(tolerance) ? `${text}, allowed ${scientific(tolerance)}` : text;
}

function gatePanel(version) {
  const { promotion, aliases } = version;
  const now = aliases.includes("champion") ? null : gateNow(version);
  if (!promotion) return panel("The gate", h("p", { class: "hint" }, "Its job was not to promote it."), now);
  const { outcome, verdict, evaluation_job_ids: jobs } = promotion;
  const waits = outcome === "waits" && jobs.map((id) => [" ", h("a", { href: `/jobs/${id}`, class: "mono" }, shortId(id))]);
  return panel(
    "The gate",
    h("p", {}, OUTCOMES[outcome], verdict && `: ${verdictText(verdict)}`, waits),
    promotion.reason && h("p", { class: "hint" }, promotion.reason),
    verdict && verdictTable(verdict),
    now,
  );
}

function filesPanel({ exports, artifacts }) {
  const exported = new Set(exports.map((one) => one.sha256));
  const rows = [
    ...exports.map((one) => fileRow({ ...one, href: contentOf(one, artifacts), note: one.precision })),
    ...artifacts.filter((one) => !exported.has(one.sha256)).map((one) => fileRow({ ...one, href: one.content_url, note: one.kind })),
  ];
  const isHidden = !artifacts.length && h("p", { class: "hint" }, "The job's other files are shown to its owner.");
  return panel("Files", tableOf("files-table", ["File", "Kind", ["Size", "numeric"], "SHA-256"], rows), isHidden);
}

function contentOf(file, artifacts) {
  return artifacts.find((one) => one.sha256 === file.sha256)?.content_url ?? file.download_url;
}

function fileRow({ name, href, note, bytes: size, sha256 }) {
  return h(
    "tr",
    {},
    rowHead(h("a", { href, download: name }, name)),
    h("td", {}, note),
    numeric(bytes(size)),
    h("td", {}, h("code", { title: sha256 }, sha256.slice(0, 10))),
  );
}

function panel(title, ...content) {
  return h("section", { class: "panel" }, h("h3", {}, title), content);
}

function scientific(value) {
  return isNumber(value) ? value.toExponential(1) : "–";
}

function isNumber(value) {
  return typeof value === "number";
}
