/** Every try at the job: where it ran, how long, how it ended. */

import { h, reconcile, replace } from "../core/dom.js";
import { duration, timeElement, words } from "../core/format.js";
import { columnHead } from "./columns.js";

const BADGES = { succeeded: "succeeded", failed: "failed", lost: "failed", cancelled: "cancelled", paused: "paused" };

/** A table of the attempts; nothing before the first. */
export function mountAttempts(section, watch) {
  const body = h("tbody", {});
  const heads = ["Attempt", "Worker", "Began", "Took", "Outcome", "Error"];
  const table = h(
    "table",
    { class: "table" },
    h("thead", {}, h("tr", {}, heads.map(columnHead))),
    body,
  );
  replace(section, h("h2", {}, "Attempts"), h("div", { class: "table-wrap", tabindex: 0, role: "group", "aria-label": "Attempts" }, table));
  const show = ({ job }) => {
    section.hidden = !job.attempts.length;
    reconcile(body, job.attempts, { key: (one) => one.number, create: () => h("tr", {}), update: showAttempt });
  };
  watch.on("job", show);
  show(watch);
}

function showAttempt(row, attempt) {
  if (row.dataset.shown === JSON.stringify(attempt)) return;
  row.dataset.shown = JSON.stringify(attempt);
  replace(
    row,
    h("th", { scope: "row", class: "numeric" }, attempt.number),
    h("td", { class: "mono" }, attempt.worker),
    h("td", {}, timeElement(attempt.started_at)),
    h("td", { class: "numeric" }, took(attempt)),
    h("td", {}, outcome(attempt)),
    h("td", {}, errorText(attempt)),
  );
}

function took({ started_at: began, ended_at: ended }) {
  return ended ? duration((Date.parse(ended) - Date.parse(began)) / 1000) : "runs";
}

function outcome({ outcome: how, exit_code: code }) {
  if (!how) return h("span", { class: "badge badge-running" }, "running");
  const exit = code ? ` (exit ${code})` : "";
  return [h("span", { class: `badge badge-${BADGES[how] ?? "paused"}` }, words(how)), exit];
}

function errorText({ error }) {
  if (!error) return "";
  return [h("a", { href: `/problems/${encodeURIComponent(error.code)}` }, h("code", {}, error.code)), " ", error.message];
}
