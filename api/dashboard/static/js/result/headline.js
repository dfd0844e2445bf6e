/** The numbers of an evaluation that matter most, beside those of the baselines on the same sessions. */

import { h } from "../core/dom.js";
import { metres, number, percent } from "../core/format.js";
import { numeric, rowHead, tableOf } from "./elements.js";
import { BASELINES } from "./evaluation.js";

const COLUMNS = [
  ["median_error_m", "Median error", metres],
  ["mean_error_m", "Mean", metres],
  ["p90_error_m", "90 % within", metres],
  ["coverage_68", "In the 68 % ellipse", (value) => percent(value, 0)],
  ["nll_per_m2", "NLL per m²", (value) => number(value, 2)],
  ["energy_score_m", "Energy score", metres],
];

/** The metrics of which the smallest is the best. */
const SMALLER = new Set(["median_error_m", "mean_error_m", "p90_error_m", "nll_per_m2", "energy_score_m"]);

/** The figures, a sentence that reads them, and the table with the baselines. */
export function headline(report) {
  const best = bestBaseline(report.baselines ?? {});
  return [figures(report, best), h("p", { class: "result-reading" }, reading(report, best)), table(report)];
}

function figures({ metrics, num_sessions: count, split }, best) {
  const against = best && `${BASELINES[best.name] ?? best.name} ${metres(best.metrics.median_error_m)}`;
  return h(
    "div",
    { class: "figures result-figures" },
    figure(metres(metrics.median_error_m), "median error", against && `best baseline: ${against}`),
    figure(metres(metrics.p90_error_m), "of error at most for 90 %", `mean ${metres(metrics.mean_error_m)}`),
    figure(percent(metrics.coverage_68, 0), "inside the 68 % ellipse", coverageText(metrics.coverage_68, count)),
    figure(areaText(metrics.median_area68_km2), "median area of that ellipse", `ENCE ${number(metrics.ence, 3)}`),
    figure(number(count), `sessions of the ${split} split`, null),
  );
}

function figure(value, label, note) {
  return h(
    "div",
    { class: "figure" },
    h("span", { class: "figure-value" }, value),
    h("span", { class: "figure-label" }, label),
    note && h("span", { class: "figure-note" }, note),
  );
}

function reading({ metrics, baselines }, best) {
  if (!best) return "There are no baselines to compare with.";
  const change = metrics.median_error_m / best.metrics.median_error_m - 1;
  const behind = Object.values(baselines).filter((one) => one.median_error_m > metrics.median_error_m).length;
  const total = Object.keys(baselines).length;
  const rank = behind === total ? "Better than every baseline" : `Better than ${behind} of ${total} baselines`;
  const name = BASELINES[best.name] ?? best.name;
  return `${rank} by median error; ${percent(Math.abs(change), 0)} ${change < 0 ? "below" : "above"} the best of them, ${name}.`;
}

/** Two standard deviations of a share of so many sessions are chance. */
function coverageText(coverage, count) {
  const chance = 2 * Math.sqrt((0.68 * 0.32) / count);
  if (Math.abs(coverage - 0.68) <= chance) return "as it should, within chance";
  return coverage > 0.68 ? "more than it should: too cautious" : "less than it should: too sure";
}

function table({ metrics, baselines = {} }) {
  const others = Object.entries(baselines).map(([name, one]) => [BASELINES[name] ?? name, one]);
  others.sort(([, one], [, other]) => one.median_error_m - other.median_error_m);
  const rows = [["this model", metrics], ...others];
  const least = new Map(COLUMNS.map(([key]) => [key, Math.min(...rows.map(([, one]) => one[key]))]));
  const head = ["", ...COLUMNS.map(([, label]) => [label, "numeric"])];
  return tableOf("result-baselines", head, rows.map(([name, one], i) => row(name, one, least, i === 0)));
}

function row(name, metrics, least, isModel) {
  const cells = COLUMNS.map(([key, , text]) => {
    const isBest = SMALLER.has(key) && metrics[key] === least.get(key);
    return numeric(text(metrics[key]), isBest && "is-best");
  });
  return h("tr", { class: isModel && "is-model" }, rowHead(name), cells);
}

function bestBaseline(baselines) {
  const all = Object.entries(baselines).map(([name, metrics]) => ({ name, metrics }));
  return all.sort((one, other) => one.metrics.median_error_m - other.metrics.median_error_m)[0] ?? null;
}

function areaText(km2) {
  return km2 < 1 ? `${number(km2, 3)} km²` : `${number(km2, km2 < 100 ? 1 : 0)} km²`;
}
