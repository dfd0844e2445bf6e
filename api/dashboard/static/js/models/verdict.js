/** What the gate says of a version, check by check. */

import { get, may, send } from "../core/api.js";
import { busy, h, replace, showProblem } from "../core/dom.js";
import { shortId } from "../core/format.js";
import { apiPath, datasetLink } from "./versions.js";

const NAMES = {
  verified: "Files verified",
  same_test_split: "Same test sessions",
  median_error_m: "Median error",
  nll_per_m2: "Likelihood (NLL)",
  coverage_68: "68 % coverage",
  better: "Better than it",
};

/** The checks of a verdict as a table, and what it was measured on. */
export function verdictTable(verdict) {
  const { champion_version: champion, dataset, num_sessions: count } = verdict;
  return h(
    "div",
    { class: "verdict" },
    h("ul", { class: "checks" }, verdict.checks.map(checkItem)),
    dataset &&
      h("p", { class: "hint" }, `Against version ${champion} on ${count ?? "the"} test sessions of `, datasetLink(dataset), "."),
  );
}

/** How many of the checks are passed: "5 of 6 checks passed". */
export function verdictText({ checks }) {
  const passed = checks.filter((check) => check.passed).length;
  return passed === checks.length ? `all ${passed} checks passed` : `${passed} of ${checks.length} checks passed`;
}

/** A button that asks the gate what it says of a version now, and shows that in its place. */
export function gateNow({ name, version }) {
  const element = h("div", { class: "gate-now", "aria-live": "polite" });
  const ask = async () => {
    try {
      const verdict = await busy(button, get(`${apiPath(name, version)}/verdict`));
      replace(element, h("p", {}, `Now: ${verdictText(verdict)}.`), verdictTable(verdict), evaluationOffer(verdict.evaluate));
    } catch (problem) {
      showProblem(element, problem, ask);
    }
  };
  const button = h("button", { type: "button", class: "button button-quiet button-small", on: { click: ask } }, "Ask the gate now");
  return replace(element, button);
}

/** A button for the evaluations after which two versions can be compared; `done(jobs)` when they are queued. */
export function evaluationOffer(bodies, done) {
  if (!bodies?.length) return null;
  const told = h("div", { "aria-live": "polite" });
  const names = bodies.map(({ model, dataset }) => `version ${model.version} on ${dataset.name} v${dataset.version}`);
  const button = h("button", { type: "button", class: "button" }, bodies.length > 1 ? "Queue the evaluations" : "Queue the evaluation");
  button.addEventListener("click", () => queue(bodies, button, told, done));
  return h(
    "div",
    { class: "notice notice-warn" },
    h("p", {}, `They were not measured on the same sessions. Missing: ${names.join(", ")}.`),
    may("jobs:write") ? button : h("p", { class: "hint" }, "A key with jobs:write can queue the evaluation."),
    told,
  );
}

async function queue(bodies, button, told, done) {
  try {
    const jobs = await busy(button, submitAll(bodies));
    button.hidden = true;
    const links = jobs.map((job) => [h("a", { href: `/jobs/${job.id}` }, shortId(job.id)), " "]);
    const next = done ? "They are compared here when it has ended." : "Come back when it has ended.";
    replace(told, h("p", {}, "Queued: ", links, next));
    done?.(jobs);
  } catch (problem) {
    showProblem(told, problem);
  }
}

async function submitAll(bodies) {
  const jobs = [];
  for (const body of bodies) jobs.push(await send("POST", "/v1/jobs", body, { idempotent: true }));
  return jobs;
}

function checkItem({ name, passed, detail }) {
  return h(
    "li",
    { class: passed ? "check is-passed" : "check is-failed" },
    h("span", { class: "check-mark", "aria-hidden": "true" }, passed ? "✓" : "✗"),
    h("span", { class: "check-name" }, NAMES[name] ?? name, h("span", { class: "visually-hidden" }, passed ? " passed: " : " failed: ")),
    h("span", { class: "check-detail" }, detail),
  );
}
