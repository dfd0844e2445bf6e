/** The distribution of errors and the calibration of an evaluation, as plots. */

import { number, percent } from "../core/format.js";
import { faded, plot } from "../core/plot.js";
import { distribution, quantile } from "./evaluation.js";

const METRES_BELOW_M = 3000;
const STEPS = 100;
const LEGEND = { yref: "container", y: 0, yanchor: "bottom" };
const MARKED = [0.5, 0.68, 0.9, 0.95];

/** Draws which share of the sessions lies within each error; `curves`: [{name, errors, isMain}]. */
export function drawErrors(element, curves) {
  const unit = unitOf(curves);
  const far = Math.max(...curves.map(({ errors }) => quantile(errors, 0.99))) / unit.metres;
  const traces = (colours) => curves.map((curve, i) => errorTrace(curve, i, unit, colours));
  const layout = {
    height: 360,
    uirevision: "errors",
    xaxis: { title: { text: `error, ${unit.name}` }, range: [0, far], hoverformat: ".4~r", ticksuffix: "" },
    yaxis: { title: { text: "share of sessions" }, range: [0, 1.01], tickformat: ".0%" },
    margin: { t: 8 },
    legend: LEGEND,
  };
  const told = curves.map(({ name, errors }) => `${name}: median ${number(quantile(errors, 0.5) / unit.metres, 1)} ${unit.name}`);
  return plot(element, traces, layout, { label: `Share of sessions within each error. ${told.join("; ")}.` });
}

/** Draws the share of sessions inside each ellipse against the promised share. */
export function drawCalibration(element, sessions) {
  const levels = sessions.map(({ squared }) => 1 - Math.exp(-squared / 2)).sort((a, b) => a - b);
  const nominal = Array.from({ length: STEPS + 1 }, (_, i) => i / STEPS);
  const observed = shareBelow(levels, nominal);
  const marked = shareBelow(levels, MARKED);
  const traces = (colours) => [
    ...band(nominal, sessions.length, colours),
    { x: [0, 1], y: [0, 1], name: "calibrated", mode: "lines", line: { color: colours.muted, width: 1, dash: "dash" }, hoverinfo: "skip" },
    { x: nominal, y: observed, name: "observed", mode: "lines", line: { color: colours.series[0], width: 2.5 }, hovertemplate: "%{y:.1%}" },
    { x: MARKED, y: marked, mode: "markers", marker: { color: colours.series[0], size: 8 }, showlegend: false, hoverinfo: "skip" },
  ];
  const layout = {
    height: 360,
    xaxis: { title: { text: "promised share" }, range: [0, 1], tickformat: ".0%", constrain: "domain" },
    yaxis: { title: { text: "share inside the ellipse" }, range: [0, 1.01], tickformat: ".0%" },
    margin: { t: 8 },
    legend: LEGEND,
  };
  const told = MARKED.map((level, i) => `${percent(marked[i], 0)} in the ${percent(level, 0)} ellipse`);
  return plot(element, traces, layout, { label: `Calibration: ${told.join(", ")}.` });
}

/** The band in which a calibrated model's curve of so many sessions lies point by point, 95 times of 100. */
function band(nominal, count, colours) {
  const margin = nominal.map((p) => 1.96 * Math.sqrt((p * (1 - p)) / count));
  const edge = { mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
  return [
    { ...edge, x: nominal, y: nominal.map((p, i) => Math.max(0, p - margin[i])), showlegend: false },
    {
      ...edge,
      x: nominal,
      y: nominal.map((p, i) => Math.min(1, p + margin[i])),
      fill: "tonexty",
      fillcolor: faded(colours.muted, 0.18),
      name: "95 % sampling band",
    },
  ];
}

function errorTrace({ name, errors, isMain }, i, unit, colours) {
  const { x, y } = distribution(errors);
  return {
    x: x.map((value) => value / unit.metres),
    y,
    name,
    mode: "lines",
    line: { shape: "hv", width: isMain ? 3 : 1.6, color: colours.series[i % colours.series.length] },
    hovertemplate: "%{y:.0%}",
  };
}

function unitOf(curves) {
  const middle = Math.min(...curves.map(({ errors }) => quantile(errors, 0.5)));
  return middle < METRES_BELOW_M ? { name: "m", metres: 1 } : { name: "km", metres: 1e3 };
}

function shareBelow(ordered, levels) {
  let place = 0;
  return levels.map((level) => {
    while (place < ordered.length && ordered[place] <= level) place += 1;
    return place / ordered.length;
  });
}
