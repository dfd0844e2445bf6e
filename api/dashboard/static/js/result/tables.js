/** Where a model is good and where not: by receivers that heard, by signal strength, and without each receiver. */

import { h } from "../core/dom.js";
import { metres, number, percent } from "../core/format.js";
import { faded, plot } from "../core/plot.js";
import { numeric, rowHead, tableOf } from "./elements.js";

const HEAD = ["Sessions", "Median error", "90 %", "In 68 %", "Ellipse"];
const BAR_PX = 30;

/** The metrics by the number of receivers that heard. */
export function heardTable(groups) {
  return groupTable("Receivers", groups, ({ low }) => number(low));
}

/** The metrics by mean signal-to-noise ratio. */
export function snrTable(groups) {
  return groupTable("Mean SNR", groups, ({ low, high }) => `${number(low, 1)} to ${number(high, 1)} dB`);
}

/** Draws by how much the mean error grows without each receiver, with 95 % intervals. */
export function drawReceivers(element, removed) {
  const known = removed.filter((one) => one.change !== null);
  known.sort((one, other) => one.change.mean_error_m - other.change.mean_error_m);
  const unit = known.some((one) => Math.abs(one.change.mean_error_m) >= 1000) ? ["km", 1e3] : ["m", 1];
  const layout = {
    height: 90 + BAR_PX * known.length,
    hovermode: "closest",
    xaxis: { title: { text: `change of the mean error without it, ${unit[0]}` }, zeroline: true },
    yaxis: { showgrid: false, ticks: "" },
    margin: { t: 8, b: 48 },
    showlegend: false,
  };
  const told = known.map((one) => `${one.receiver} ${metres(one.change.mean_error_m)}`).reverse();
  return plot(element, (colours) => [bars(known, unit, colours)], layout, {
    label: `Change of the mean error without each receiver: ${told.join(", ")}.`,
  });
}

function bars(known, [name, divisor], colours) {
  const change = known.map((one) => one.change.mean_error_m / divisor);
  const interval = (i) => known.map((one) => one.mean_error_change_95_m[i] / divisor);
  const [low, high] = [interval(0), interval(1)];
  return {
    type: "bar",
    orientation: "h",
    x: change,
    y: known.map((one) => one.receiver),
    marker: { color: known.map((_, i) => barColour(low[i], high[i], colours)) },
    error_x: {
      type: "data",
      symmetric: false,
      array: change.map((value, i) => high[i] - value),
      arrayminus: change.map((value, i) => value - low[i]),
      color: colours.ink,
      thickness: 1.2,
      width: 4,
    },
    customdata: known.map((one, i) => [low[i], high[i], one.num_heard, one.num_sessions]),
    hovertemplate:
      `%{y}: %{x:+.3~r} ${name} (95 %: %{customdata[0]:.3~r} to %{customdata[1]:.3~r})` +
      "<br>heard %{customdata[2]} of %{customdata[3]} sessions<extra></extra>",
  };
}

/** Solid where the interval leaves out 0: only there is something shown. */
function barColour(low, high, colours) {
  if (low > 0) return colours.series[0];
  return high < 0 ? colours.series[1] : faded(colours.muted, 0.45);
}

function groupTable(title, groups, labelOf) {
  const worst = Math.max(...groups.map(({ metrics }) => metrics.median_error_m));
  const head = [title, ...HEAD.map((text) => [text, "numeric"])];
  return tableOf("result-groups", head, groups.map((group) => groupRow(group, labelOf(group), worst)));
}

function groupRow({ metrics, num_sessions: count }, label, worst) {
  const width = `${(100 * metrics.median_error_m) / worst}%`;
  const bar = h("span", { class: "result-bar", "aria-hidden": "true", style: { width } });
  const area = metrics.median_area68_km2;
  return h(
    "tr",
    {},
    rowHead(label),
    numeric(number(count)),
    numeric([metres(metrics.median_error_m), bar]),
    numeric(metres(metrics.p90_error_m)),
    numeric(percent(metrics.coverage_68, 0)),
    numeric(`${number(area, area < 10 ? 2 : 0)} km²`),
  );
}
