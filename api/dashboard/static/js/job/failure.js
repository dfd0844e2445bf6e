/** Why the job failed: the cause, what to do about it, and the last lines of its log. */

import { get } from "../core/api.js";
import { h, replace } from "../core/dom.js";
import { linesOf } from "./log_lines.js";
import { lineElement } from "./log_view.js";

const SHOWN_LINES = 12;
const CATEGORIES = {
  user: "the request",
  data: "the data",
  infra: "the service around it",
  oom: "memory",
  bug: "a defect of the service",
};

/** Shows the failure of a job that failed, once. */
export function mountFailure(element, watch) {
  watch.on("job", ({ job, path }) => {
    if (job.status !== "failed" || !element.hidden) return;
    element.hidden = false;
    showFailure(element, job, path);
  });
}

async function showFailure(element, job, path) {
  const { error } = job;
  const tail = h("div", {});
  element.className = "notice notice-bad failure";
  replace(
    element,
    h("h2", {}, "Why it failed"),
    h("p", { class: "failure-message" }, sentence(error.message)),
    error.hint && h("p", { class: "failure-hint" }, h("strong", {}, "What to do: "), error.hint),
    h("p", { class: "hint" }, cause(error), " ", codeLink(error.code), error.retryable && ". It may pass: retry it"),
    tail,
  );
  const log = await get(`${path}/logs`, { params: { from_end: true, limit: 5 } }).catch(() => null);
  if (log?.content) showTail(tail, log);
}

function cause(error) {
  return `Cause: ${CATEGORIES[error.category] ?? error.category}, code`;
}

function codeLink(code) {
  return h("a", { href: `/problems/${encodeURIComponent(code)}` }, h("code", {}, code));
}

function showTail(element, log) {
  const lines = linesOf(log.content).slice(-SHOWN_LINES);
  replace(
    element,
    h("p", { class: "hint" }, `Last lines of attempt ${log.attempt} (`, h("a", { href: "#log" }, "the whole log"), ")"),
    h("div", { class: "log-lines log-tail", tabindex: 0, role: "group", "aria-label": "Last lines of the log" }, lines.map((line) => lineElement(line))),
  );
  element.lastElementChild.scrollTop = element.lastElementChild.scrollHeight;
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
