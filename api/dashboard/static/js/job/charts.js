/** Which curves share a chart, and how each chart is drawn. */

import { metres, number, percent } from "../core/format.js";
import { faded } from "../core/plot.js";
import { smoothed } from "./series.js";

const FEW_POINTS = 40;
const METRES_PER_KM = 1000;
const UNSMOOTHED = new Set(["learning_rate"]);
const WORDS = {
  train_loss: "training",
  val_loss: "validation",
  val_median_error_m: "validation",
  val_coverage_68: "validation",
  learning_rate: "learning rate",
  samples_per_second: "training",
  grad_norm: "before clipping",
};
const CHARTS = [
  { name: "loss", title: "Loss", hint: "validation: NLL in nats per km²; training: beta-NLL", curves: ["train_loss", "val_loss"], show: (x) => number(x, 3), least: "val_loss" },
  { name: "error", title: "Median error", hint: "of the validation sessions", curves: ["val_median_error_m"], show: metres, least: "val_median_error_m", isLength: true },
  {
    name: "coverage",
    title: "Coverage of the 68 % ellipse",
    hint: "share of validation sessions inside it, not calibrated yet",
    curves: ["val_coverage_68"],
    show: (x) => percent(x, 1),
    layout: { yaxis: { range: [0, 1.02], tickformat: ".0%" } },
    level: 0.68,
    isLinear: true,
  },
  { name: "rate", title: "Learning rate", curves: ["learning_rate"], show: (x) => String(Number(x.toPrecision(3))), layout: { yaxis: { exponentformat: "power" } } },
  { name: "speed", title: "Samples per second", hint: "sessions, validation left out", curves: ["samples_per_second"], show: (x) => number(x, 1), layout: { yaxis: { rangemode: "tozero" } } },
  { name: "gradient", title: "Gradient norm", curves: ["grad_norm"], show: (x) => number(x, 3) },
];

/** The charts that these curves fill; curves that are not known get one each. */
export function chartsOf(names) {
  const known = new Set(CHARTS.flatMap((chart) => chart.curves));
  const others = names.filter((name) => !known.has(name));
  const made = others.map((name) => ({ name, title: name.replaceAll("_", " "), curves: [name], show: (x) => number(x, 4) }));
  return [...CHARTS.filter((chart) => chart.curves.some((name) => names.includes(name))), ...made];
}

/** What a curve of a chart is called. */
export function curveLabel(name) {
  return WORDS[name] ?? name.replaceAll("_", " ");
}

/** The newest values in words: for the eye beside the title, and as the chart's text alternative. */
export function newestText(chart, series) {
  const parts = chart.curves.map((name) => [name, series.newest(name)]).filter(([, value]) => value !== null);
  return parts.map(([name, value]) => (parts.length > 1 ? `${curveLabel(name)} ${chart.show(value)}` : chart.show(value))).join(", ");
}

/** The best value so far, where less is better; "" for other charts. */
export function leastText(chart, series) {
  const point = chart.least && series.least(chart.least);
  return point ? `least ${chart.show(point.value)} in epoch ${point.epoch}` : "";
}

/** What the axis counts in: lengths in kilometres where most are longer than one. */
function unitOf(chart, series) {
  if (!chart.isLength) return { size: 1, suffix: "" };
  const values = chart.curves.flatMap((name) => series.curves.get(name) ?? []).map((point) => point.value ?? 0);
  const numLong = values.filter((value) => value >= METRES_PER_KM).length;
  return numLong > values.length / 2 ? { size: METRES_PER_KM, suffix: " km" } : { size: 1, suffix: " m" };
}

/** Whether a logarithmic axis can show all of a chart's values. */
export function canBeLog(chart, series) {
  const values = chart.curves.flatMap((name) => series.curves.get(name) ?? []).map((point) => point.value);
  return !chart.isLinear && values.every((value) => value === null || value > 0);
}

/** Traces for Plotly, as a function of the colours. */
export function tracesOf(chart, series, view) {
  return (colours) => chart.curves.filter((name) => series.curves.has(name)).flatMap((name, place) => curveTraces(name, chart, series, view, colours.series[place]));
}

function curveTraces(name, chart, series, view, colour) {
  const points = series.curves.get(name);
  const values = points.map((point) => point.value);
  const isSmooth = view.smoothing > 0 && !UNSMOOTHED.has(name) && points.length > 2;
  const { size } = unitOf(chart, series);
  const scaled = (all) => all.map((value) => (value === null ? null : value / size));
  const line = curve(points, scaled(isSmooth ? smoothed(values, view.smoothing) : values), name, view);
  const shown = { ...line, line: { color: colour, width: 2 }, ...hover(name, points, chart) };
  if (!isSmooth) return [shown];
  const raw = { ...curve(points, scaled(values), name, view), line: { color: faded(colour, 0.28), width: 1 }, showlegend: false, hoverinfo: "skip" };
  return [raw, shown];
}

function curve(points, y, name, view) {
  const mode = points.length < FEW_POINTS ? "lines+markers" : "lines";
  return { type: "scatter", mode, marker: { size: 5 }, name: curveLabel(name), x: points.map((point) => point[view.axis]), y };
}

function hover(name, points, chart) {
  const text = points.map((point) => `${point.value === null ? "no number" : chart.show(point.value)} · epoch ${point.epoch}, step ${number(point.step)}`);
  return { text, hovertemplate: `%{text}<extra>${curveLabel(name)}</extra>` };
}

/** The layout for Plotly, as a function of the colours. */
export function layoutOf(chart, series, view) {
  const isLog = view.isLog && canBeLog(chart, series);
  const { suffix: ticksuffix } = unitOf(chart, series);
  return (colours) => ({
    height: 240,
    uirevision: `${view.axis} ${isLog}`,
    showlegend: chart.curves.filter((name) => series.curves.has(name)).length > 1,
    margin: { t: 12, r: 12, b: 36 },
    xaxis: { title: { text: view.axis, standoff: 4 }, rangemode: "tozero" },
    yaxis: isLog ? { type: "log", ticksuffix } : { type: "linear", ticksuffix, ...chart.layout?.yaxis },
    shapes: [...levels(chart, colours), ...moments(chart, series, view, colours).map(upright)],
    annotations: moments(chart, series, view, colours).map((one) => mark(one, colours)),
  });
}

function levels(chart, colours) {
  if (chart.level === undefined) return [];
  const line = { color: colours.muted, width: 1, dash: "dash" };
  return [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: chart.level, y1: chart.level, line }];
}

/** Where attempts begin, and the epoch whose weights were kept: [{x, text, colour}]. */
function moments(chart, series, view, colours) {
  const resumed = series.resumptions.map((one) => ({ x: one[view.axis], text: `attempt ${one.attempt}`, colour: colours.warn }));
  const kept = chart.least && series.curves.get(chart.least)?.find((point) => point.epoch === view.keptEpoch);
  return kept ? [...resumed, { x: kept[view.axis], text: "kept", colour: colours.ok }] : resumed;
}

function upright({ x, colour }) {
  return { type: "line", yref: "paper", y0: 0, y1: 1, x0: x, x1: x, line: { color: colour, width: 1, dash: "dot" } };
}

function mark({ x, text, colour }, colours) {
  return {
    x,
    y: 1,
    yref: "paper",
    yanchor: "top",
    xanchor: "left",
    showarrow: false,
    text,
    bgcolor: faded(colours.panel, 0.85),
    font: { size: 11, color: colour },
  };
}
