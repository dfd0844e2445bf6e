/** Training the champion again on what is approved now. */

import { randomId, send } from "../core/api.js";
import { h, replace } from "../core/dom.js";
import { number, shortId } from "../core/format.js";
import { openForm } from "./dialog.js";
import { apiPath } from "./versions.js";

const OUTCOMES = {
  queued: "The retraining is queued",
  joined: "A queued retraining serves this call too",
  repeated: "This retraining was asked for before",
};

/** Asks why and how, then calls `:retrain`; what came of it is told in `notice`. */
export function askToRetrain(name, champion, notice) {
  const key = `dashboard-${randomId().slice(0, 16)}`;
  openForm({
    title: `Train ${name} again`,
    body: fields(champion),
    confirm: "Train again",
    act: async (given) => tell(notice, await send("POST", `${apiPath(name)}:retrain`, bodyOf(given, key), { idempotent: true })),
  });
}

function fields(champion) {
  const reason = { required: true, maxlength: 500, autocomplete: "off" };
  const least = { type: "number", min: 0, max: 1_000_000, value: 1, required: true };
  return [
    h("p", {}, `The specification of version ${champion}, on the recordings that its dataset's query finds approved now.`),
    row("Reason", h("input", { ...reason, id: "retrain-reason", name: "reason" }), "Kept with the job and its events."),
    row("New sessions, at least", h("input", { ...least, id: "retrain-least", name: "min_new_sessions" }), "With fewer there is no job."),
    row("Promotion", promoteChoice(), "Through the gate, when the training has ended."),
    box("warm_start", "Start from the champion's weights"),
    box("force", "Train whatever has or has not changed"),
  ];
}

function promoteChoice() {
  const choices = [["", "as the champion's job had it"], ["if_better", "if it is better"], ["never", "never"]];
  return h("select", { id: "retrain-promote", name: "promote" }, choices.map(([value, text]) => h("option", { value }, text)));
}

function row(label, field, hint) {
  return h("div", { class: "form-row" }, h("label", { for: field.id }, label), field, h("span", { class: "hint" }, hint));
}

function box(name, text) {
  return h("label", { class: "models-box" }, h("input", { type: "checkbox", name, value: "yes" }), text);
}

function bodyOf(given, key) {
  return {
    reason: given.reason.trim(),
    dedupe_key: key,
    min_new_sessions: Number(given.min_new_sessions),
    promote: given.promote || null,
    warm_start: given.warm_start === "yes",
    force: given.force === "yes",
  };
}

function tell(notice, job) {
  const { new_sessions: fresh, withdrawn_sessions: gone } = job;
  const counted = fresh === null ? "" : ` ${number(fresh)} new sessions, ${number(gone)} withdrawn.`;
  const link = h("a", { href: `/jobs/${job.id}` }, shortId(job.id));
  const left = job.left_as_it_is.length ? ` Left as it was: ${job.left_as_it_is.join(", ")}.` : "";
  const told = h("span", {}, `${OUTCOMES[job.outcome]}: `, link, `.${counted}${left}`);
  replace(notice, h("p", { class: "notice notice-ok" }, told));
}
