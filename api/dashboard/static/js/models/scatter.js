/** The errors of two versions against each other, session by session. */

import { h, replace } from "../core/dom.js";
import { metres, number } from "../core/format.js";
import { faded, plot } from "../core/plot.js";

const LEAST_M = 1;

/** Draws one point for each session: below the line the second version is the better one. */
export function drawPairs(element, { common, names }) {
  const [x, y] = [0, 1].map((i) => common.map(({ errors }) => Math.max(errors[i], LEAST_M) / 1e3));
  const all = [...x, ...y];
  const range = [Math.min(...all) / 1.3, Math.max(...all) * 1.3];
  const won = common.filter(({ errors }) => errors[1] < errors[0]).length;
  const traces = (colours) => [
    { x: range, y: range, mode: "lines", line: { color: colours.muted, width: 1, dash: "dash" }, hoverinfo: "skip", showlegend: false },
    {
      x,
      y,
      mode: "markers",
      showlegend: false,
      marker: {
        size: 7,
        color: common.map(({ errors }) => faded(errors[1] < errors[0] ? colours.series[1] : colours.series[0], 0.65)),
      },
      text: common.map(({ id, source, errors }) => [source ?? id.slice(0, 8), ...errors.map((error, i) => `${names[i]}: ${metres(error)}`)].join("<br>")),
      hovertemplate: "%{text}<extra></extra>",
    },
  ];
  const dtick = range[1] / range[0] > 200 ? 1 : "D2";
  const axis = (text) => ({ title: { text }, type: "log", range: range.map(Math.log10), dtick, tickformat: "~r" });
  const layout = {
    height: 360,
    hovermode: "closest",
    xaxis: axis(`error of ${names[0]}, km`),
    yaxis: axis(`error of ${names[1]}, km`),
    margin: { t: 8 },
    annotations: [note(names[1], 0.98, 0.03, "right"), note(names[0], 0.02, 0.97, "left")],
  };
  const told = `Of ${number(common.length)} sessions ${names[1]} is closer in ${number(won)}.`;
  const canvas = h("div");
  replace(element, canvas, h("p", { class: "hint" }, told));
  return plot(canvas, traces, layout, { label: `Errors session by session. ${told}` });
}

function note(name, x, y, xanchor) {
  return { text: `${name} closer`, x, y, xref: "paper", yref: "paper", xanchor, showarrow: false };
}
