/** What came of a job that succeeded: its evaluation, or the report of an import. */

import { h, replace, showEmpty, showProblem } from "../core/dom.js";
import { number } from "../core/format.js";

const SHOWN_FILES = 200;

/** The evaluation where there is one, else what the result says. */
export async function mountOutcome(panel, watch) {
  const { job } = watch;
  if (job.kind === "import") return showImport(panel, job.result ?? {});
  const element = h("div", {});
  panel.append(element);
  try {
    const { mountResult } = await import("../result/result.js");
    await mountResult(element, { jobId: job.id });
  } catch (problem) {
    showProblem(element, problem, () => replace(panel) && mountOutcome(panel, watch));
  }
  return panel;
}

function showImport(panel, result) {
  const section = h("section", { class: "panel" });
  panel.append(section);
  const figures = [
    ["sessions accepted", result.accepted],
    ["known before", result.duplicates],
    ["refused", result.refused_count],
    ["warnings", result.warnings?.length],
  ].filter(([, count]) => count !== undefined);
  replace(section, h("h2", {}, "Import"), h("div", { class: "figures" }, figures.map(([label, count]) => figure(label, number(count)))), approval(result));
  for (const [title, entries] of [["Refused", result.refused], ["Warnings", result.warnings]]) {
    if (entries?.length) panel.append(listOf(title, entries));
  }
  if (!figures.length) showEmpty(section, "The import reported no counts.");
  return panel;
}

function figure(label, value) {
  return h("div", {}, h("span", { class: "figure-value" }, value), h("span", { class: "figure-label" }, label));
}

function approval(result) {
  if (!result.accepted) return null;
  return h("p", { class: "hint after" }, "Only approved sessions become part of a dataset: ", h("a", { href: "/recordings?approval_status=pending" }, "look at those that wait"), ".");
}

function listOf(title, entries) {
  const items = entries.slice(0, SHOWN_FILES).map((entry) => h("li", {}, typeof entry === "string" ? entry : Object.values(entry).filter((value) => typeof value !== "object").join(": ")));
  const rest = entries.length - items.length;
  return h("section", { class: "panel" }, h("h2", {}, `${title} (${number(entries.length)})`), h("ul", { class: "plain" }, items), rest > 0 && h("p", { class: "hint" }, `And ${number(rest)} more; the report among the files has all of them.`));
}
