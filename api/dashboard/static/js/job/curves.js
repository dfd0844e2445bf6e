/** Live curves: charts that grow as the job reports, with smoothing, a logarithmic axis and steps or epochs. */

import { $, busy, debounce, h, reconcile, replace, setText, showEmpty, showProblem, toast } from "../core/dom.js";
import { plot } from "../core/plot.js";
import { canBeLog, chartsOf, layoutOf, leastText, newestText, tracesOf } from "./charts.js";
import { Series, asCsv } from "./series.js";
import { saveText } from "./saving.js";

const WAITING = {
  queued: "The curves begin when a worker has taken the job and its first steps are done.",
  running: "The curves begin with the first steps of the training.",
  paused: "It was paused before its first steps were reported.",
};

/** Draws the curves of a training into a section and lets them grow. */
export function mountCurves(section, watch) {
  new Curves(section, watch).start();
}

class Curves {
  constructor(section, watch) {
    this.watch = watch;
    this.series = new Series(watch.path);
    this.view = { axis: "step", isLog: false, smoothing: 0 };
    this.section = section;
    this.grid = h("div", { class: "charts" });
    this.empty = h("div", {});
    replace(section, h("div", { class: "panel-head" }, h("h2", {}, "Curves"), this.controls()), this.empty, this.grid);
  }

  controls() {
    const smoothing = h("input", { type: "range", min: 0, max: 0.98, step: 0.02, value: 0, id: "smoothing" });
    const isLog = h("input", { type: "checkbox", id: "log-scale" });
    const axis = h("select", { id: "axis" }, h("option", { value: "step" }, "step"), h("option", { value: "epoch" }, "epoch"));
    const redraw = debounce(() => this.drawAll(), 30);
    smoothing.addEventListener("input", () => this.choose({ smoothing: Number(smoothing.value) }, redraw));
    isLog.addEventListener("change", () => this.choose({ isLog: isLog.checked }, redraw));
    axis.addEventListener("change", () => this.choose({ axis: axis.value }, redraw));
    const csv = h("button", { type: "button", class: "button button-quiet button-small" }, "Save as CSV");
    csv.addEventListener("click", () => busy(csv, this.save()));
    this.controlBar = h(
      "div",
      { class: "chart-controls spacer", hidden: true },
      h("label", { for: "smoothing" }, "Smoothing", smoothing),
      h("label", { for: "axis" }, "Over", axis),
      h("label", { for: "log-scale" }, isLog, "Log scale"),
      csv,
    );
    return this.controlBar;
  }

  /** All points, not only those that are drawn. */
  async save() {
    try {
      saveText(asCsv(await this.series.all()), `${this.watch.job.id}-curves.csv`, "text/csv");
    } catch (problem) {
      toast(problem.detail || problem.message, "bad");
    }
  }

  choose(change, redraw) {
    Object.assign(this.view, change);
    redraw();
  }

  /** The epoch whose weights become the model is told when the training has ended. */
  noteKept() {
    const { events } = this.watch;
    const keptEpoch = events.findLast(({ event }) => event === "training_finished")?.data.best_epoch;
    if (keptEpoch === this.view.keptEpoch) return;
    this.view.keptEpoch = keptEpoch;
    this.drawAll();
  }

  start() {
    this.watch.on("event", () => this.noteKept());
    this.watch.on("report", () => this.soon("grow"));
    this.watch.on("restart", () => this.soon("read"));
    this.section.closest(".part").addEventListener("shown", () => this.drawAll());
    this.noteKept();
    this.soon("read");
  }

  /** One request at a time: what is wanted meanwhile is asked for once more, and reading goes before growing. */
  async soon(what) {
    this.wanted = this.wanted === "read" ? "read" : what;
    if (this.isBusy) return;
    this.isBusy = true;
    while (this.wanted) await this.next();
    this.isBusy = false;
  }

  async next() {
    const { wanted } = this;
    this.wanted = null;
    try {
      await this[wanted]();
    } catch (problem) {
      if (this.series.isEmpty) showProblem(this.empty, problem, () => this.soon("read"));
    }
  }

  async read() {
    await this.series.read();
    this.drawAll();
  }

  async grow() {
    const grown = await this.series.grow();
    if (grown.size) this.draw((chart) => chart.curves.some((name) => grown.has(name)));
  }

  drawAll() {
    this.draw(() => true);
  }

  draw(isWanted) {
    this.showEmpty();
    const charts = chartsOf([...this.series.curves.keys()]);
    reconcile(this.grid, charts, { key: (chart) => chart.name, create: makeChart, update: (card, chart) => this.tell(card, chart) });
    if (!this.section.offsetParent) return;
    charts.forEach((chart, place) => isWanted(chart) && this.plotInto(this.grid.children[place], chart));
  }

  showEmpty() {
    this.controlBar.hidden = this.series.isEmpty;
    if (!this.series.isEmpty) return this.empty.replaceChildren();
    const { status } = this.watch.job;
    showEmpty(this.empty, WAITING[status] ?? "It ended before its first steps were reported.");
  }

  tell(card, chart) {
    setText($(".chart-newest", card), newestText(chart, this.series));
    const note = this.view.isLog && !canBeLog(chart, this.series) && !chart.isLinear;
    const hint = note ? "Linear: not all values are above zero" : chart.hint;
    setText($(".chart-note", card), [leastText(chart, this.series), hint].filter(Boolean).join("; "));
  }

  plotInto(card, chart) {
    const label = `${chart.title} by ${this.view.axis}; newest: ${newestText(chart, this.series)}`;
    const drawn = plot($(".chart-plot", card), tracesOf(chart, this.series, this.view), layoutOf(chart, this.series, this.view), { label, displayModeBar: false });
    drawn.catch((error) => setText($(".chart-note", card), `The plot cannot be drawn: ${error.message}`));
  }
}

function makeChart(chart) {
  return h(
    "figure",
    { class: "chart", dataset: { chart: chart.name } },
    h("figcaption", {}, h("h3", {}, chart.title), h("span", { class: "chart-newest" }), h("span", { class: "chart-note hint" })),
    h("div", { class: "chart-plot" }),
  );
}
