/** Plots by Plotly, which is loaded with the first of them; colours follow the theme, sizes the page. */

import { loadPlotly } from "./plotly.js";

const NAMES = ["ink", "muted", "line", "panel", "ground", "accent", "ok", "warn", "bad", "run"];
const SERIES = ["series-1", "series-2", "series-3", "series-4", "series-5", "series-6"];
const CONFIG = {
  displaylogo: false,
  showSendToCloud: false,
  responsive: false,
  scrollZoom: false,
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "toggleSpikelines"],
};

const plots = new Map();
const watched = new WeakSet();
const sizes = new ResizeObserver((entries) => entries.forEach((entry) => resized(entry.target)));

/**
 * Draws or redraws a plot in an element; `config.label` is its text alternative.
 *
 * `traces` and `layout` are Plotly's, or functions of the palette, which are asked again when the theme changes.
 * Without colours of their own, traces take those of the theme. Zoom stays while `layout.uirevision` is the same.
 */
export async function plot(element, traces, layout = {}, config = {}) {
  const { label, ...rest } = config;
  if (label) describe(element, label);
  const wanted = { traces, layout, config: { ...CONFIG, ...rest } };
  plots.set(element, wanted);
  const Plotly = await loadPlotly();
  if (plots.get(element) !== wanted) return element;
  await draw(Plotly, element, wanted);
  // Not with the first call alone: it may have given way to the second while the library was loading.
  if (!watched.has(element)) sizes.observe(element);
  watched.add(element);
  return element;
}

/** Takes a plot away with all that it holds. */
export async function dispose(element) {
  if (!plots.delete(element)) return;
  sizes.unobserve(element);
  watched.delete(element);
  (await loadPlotly()).purge(element);
}

/** The colours of the present theme by name, and `series`: those of curves, in order. */
export function palette() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  const named = Object.fromEntries(NAMES.map((name) => [name, read(name)]));
  return { ...named, series: SERIES.map(read) };
}

/** The colour with an opacity: for bands and fills. */
export function faded(colour, opacity) {
  const parts = colour.match(/[\d.]+/g);
  return `rgba(${parts[0]}, ${parts[1]}, ${parts[2]}, ${opacity})`;
}

async function draw(Plotly, element, { traces, layout, config }) {
  const colours = palette();
  const given = typeof layout === "function" ? layout(colours) : layout;
  const drawn = typeof traces === "function" ? traces(colours) : traces;
  await Plotly.react(element, drawn, themed(given, colours), config);
  // The page may have become narrower meanwhile, and nothing else would say so again.
  if (Math.abs(element._fullLayout?.width - element.clientWidth) > 1) resized(element);
}

function themed(layout, colours) {
  const { margin, font, hoverlabel, legend, ...rest } = layout;
  const axes = Object.keys(rest).filter((name) => /^[xy]axis\d*$/.test(name));
  const all = new Set(["xaxis", "yaxis", ...axes]);
  return {
    autosize: true,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    colorway: colours.series,
    hovermode: "x unified",
    ...rest,
    margin: { l: 56, r: 16, t: 24, b: 44, ...margin },
    font: { family: "system-ui, sans-serif", size: 12, color: colours.muted, ...font },
    hoverlabel: { bgcolor: colours.panel, bordercolor: colours.line, font: { color: colours.ink }, ...hoverlabel },
    legend: { orientation: "h", y: 1.12, x: 0, font: { color: colours.ink }, ...legend },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colours.muted, activecolor: colours.accent },
    ...Object.fromEntries([...all].map((name) => [name, { ...axisTheme(colours), ...rest[name] }])),
  };
}

function axisTheme(colours) {
  return {
    gridcolor: colours.line,
    linecolor: colours.line,
    zerolinecolor: colours.line,
    tickcolor: colours.line,
    automargin: true,
  };
}

function describe(element, label) {
  element.setAttribute("role", "figure");
  element.setAttribute("aria-label", label);
}

function resized(element) {
  if (!element.isConnected) dispose(element);
  else if (element.offsetWidth && element.data) globalThis.Plotly?.Plots.resize(element);
}

function redrawAll() {
  for (const [element, wanted] of plots) {
    if (!element.isConnected) dispose(element);
    else if (globalThis.Plotly && element.data) draw(globalThis.Plotly, element, wanted);
  }
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
new MutationObserver(redrawAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
