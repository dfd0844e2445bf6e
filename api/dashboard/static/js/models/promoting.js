/** Making a version the champion, through the gate or with a reason past it, and the way back. */

import { get, send } from "../core/api.js";
import { h, showProblem, toast } from "../core/dom.js";
import { openForm } from "./dialog.js";
import { apiPath } from "./versions.js";
import { evaluationOffer, verdictTable } from "./verdict.js";

const LONGEST_REASON = 500;

/** Shows the gate's verdict of now, then promotes if the viewer says so; `done()` after a change. */
export async function askToPromote(name, version, champion, done) {
  const told = h("p", { class: "hint" }, "The gate compares it with the champion.");
  const waiting = openForm({ title: `Promote version ${version}`, body: told });
  try {
    const verdict = await get(`${apiPath(name, version)}/verdict`);
    if (!waiting.isConnected) return;
    waiting.close();
    offer(name, version, champion, verdict, done);
  } catch (problem) {
    showProblem(waiting.querySelector(".dialog-problem"), problem);
  }
}

/** Asks for a reason and swaps the champion and the previous version. */
export function askToRollBack(name, { champion_version: champion, previous_version: previous }, done) {
  openForm({
    title: `Back to version ${previous}`,
    body: [
      h("p", {}, `Version ${previous} becomes the champion of ${name} again, version ${champion} the previous one. The gate is not asked.`),
      reasonField({ isRequired: false, hint: "For whoever asks later." }),
    ],
    confirm: `Roll back to version ${previous}`,
    danger: true,
    act: async ({ reason }) => {
      await send("POST", `${apiPath(name)}:rollback`, { champion_version: champion, reason: reason.trim() || null }, { idempotent: true });
      toast(`Version ${previous} is the champion of ${name} again`);
      done();
    },
  });
}

function offer(name, version, champion, verdict, done) {
  const isVerified = verdict.checks.every((check) => check.name !== "verified" || check.passed);
  openForm({
    title: verdict.passed ? `Promote version ${version}` : `The gate keeps version ${version} out`,
    body: [
      h("p", {}, consequence(name, version, champion, verdict)),
      verdictTable(verdict),
      evaluationOffer(verdict.evaluate),
      ...pastTheGate(verdict, isVerified),
    ],
    confirm: verdict.passed ? "Promote" : isVerified && "Promote against the gate",
    danger: !verdict.passed,
    act: ({ reason = "" }) => promote(name, version, { force: !verdict.passed, reason: reason.trim() || null }, done),
  });
}

async function promote(name, version, body, done) {
  const { changed } = await send("POST", `${apiPath(name, version)}:promote`, body, { idempotent: true });
  toast(changed ? `Version ${version} is the champion of ${name}` : `Version ${version} was the champion already`);
  done();
}

function consequence(name, version, champion, verdict) {
  if (!verdict.passed) return "It can be promoted all the same, with a reason that the history keeps.";
  const former = champion ? `version ${champion} becomes the previous one, to which one can roll back` : "there is none yet";
  return `Version ${version} becomes the champion of ${name}; ${former}.`;
}

function pastTheGate(verdict, isVerified) {
  if (verdict.passed) return [];
  if (!isVerified) return [h("p", { class: "notice notice-bad" }, "What was not verified is never promoted: export it again.")];
  return [reasonField({ isRequired: true, hint: "Why it is promoted against the verdict." })];
}

function reasonField({ isRequired, hint }) {
  const props = { id: "reason", name: "reason", rows: 2, maxlength: LONGEST_REASON, required: isRequired };
  return h(
    "div",
    { class: "form-row" },
    h("label", { for: "reason" }, isRequired ? "Reason" : "Reason (optional)"),
    h("textarea", { ...props, "aria-describedby": "reason-hint" }),
    h("span", { id: "reason-hint", class: "hint" }, hint),
  );
}
