/** What the job did when: waiting, phases, pauses, as a bar and as a table. */

import { $, h, reconcile, replace, setText } from "../core/dom.js";
import { duration, timeElement, words } from "../core/format.js";
import { columnHead } from "./columns.js";

const STATES = {
  "job.queued": "queued",
  "job.resumed": "queued",
  "job.requeued": "queued",
  "job.started": "starting",
  "job.paused": "paused",
};
const ENDS = new Set(["job.succeeded", "job.failed", "job.cancelled"]);
const NAMES = { queued: "waiting", starting: "starting its process" };

/** Keeps bar and table as the history says; what lasts still grows. */
export function mountTimeline(section, watch) {
  const bar = h("div", { class: "timeline", "aria-hidden": "true" });
  const body = h("tbody", {});
  const heads = ["Phase", "Took", "Began", "Attempt"];
  replace(
    section,
    h("h2", {}, "Phases"),
    bar,
    h(
      "div",
      { class: "table-wrap", tabindex: 0, role: "group", "aria-label": "Phases" },
      h("table", { class: "table" }, h("thead", {}, h("tr", {}, heads.map(columnHead))), body),
    ),
  );
  const show = () => showSpans(section, bar, body, spansOf(watch.events));
  watch.on("event", show);
  setInterval(() => watch.isLive && section.offsetParent && show(), 1_000);
  show();
}

/** From events to spans: {key, phase, attempt, began, ended}; `ended` null: it lasts. */
export function spansOf(events) {
  const spans = [];
  for (const { id, event, attempt, created_at: at, data } of events) {
    const phase = event === "job.phase" ? data.phase : STATES[event];
    if (phase === undefined && !ENDS.has(event)) continue;
    const last = spans.at(-1);
    if (last) last.ended ??= at;
    if (phase !== undefined) spans.push({ key: id, phase, attempt, began: at, ended: null });
  }
  return spans;
}

function showSpans(section, bar, body, spans) {
  section.hidden = !spans.length;
  const seconds = spans.map(lengthOf);
  const total = seconds.reduce((sum, one) => sum + one, 0) || 1;
  const items = spans.map((span, place) => ({ ...span, seconds: seconds[place], share: seconds[place] / total }));
  reconcile(bar, items, { key: (item) => item.key, create: () => h("span", {}), update: showPiece });
  reconcile(body, items, { key: (item) => item.key, create: makeRow, update: showRow });
}

function lengthOf({ began, ended }) {
  return Math.max(0, (ended ? Date.parse(ended) : Date.now()) - Date.parse(began)) / 1000;
}

function showPiece(element, { phase, share, seconds }) {
  element.className = `timeline-${phase}`;
  element.style.flexGrow = String(Math.max(share, 0.004));
  element.title = `${NAMES[phase] ?? words(phase)}: ${duration(seconds)}`;
  setText(element, share > 0.12 ? NAMES[phase] ?? words(phase) : "");
}

function makeRow({ phase, attempt, began }) {
  return h(
    "tr",
    {},
    h("th", { scope: "row" }, h("span", { class: `swatch timeline-${phase}`, "aria-hidden": "true" }), NAMES[phase] ?? words(phase)),
    h("td", { class: "numeric took" }),
    h("td", {}, timeElement(began)),
    h("td", { class: "numeric" }, attempt ?? ""),
  );
}

function showRow(row, { seconds, ended }) {
  setText($(".took", row), ended ? duration(seconds) : `${duration(seconds)} so far`);
}
