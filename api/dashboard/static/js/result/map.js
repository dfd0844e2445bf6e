/** The map of an evaluated split: where the transmitters were, where the model puts them, who heard them. */

import { h, replace, svg } from "../core/dom.js";
import { colourAt, mapColours, measures, onTheme } from "./colours.js";
import { mountDetails } from "./details.js";
import { paint, paintSessions } from "./drawing.js";
import { follow } from "./pointing.js";
import { View } from "./view.js";

const REACH_PX = 18;
const FEWEST_OF_A_PLACE = 2;
const HELP =
  "Drag to move, Ctrl and wheel or the buttons to zoom. With the keyboard: arrows move, plus and minus zoom, " +
  "0 shows everything, N and P go through the sessions from the largest error down, Escape lets go.";

/** Draws the map of an evaluation into an element; returns {choose(id)}. */
export function mountMap(element, evaluation) {
  return new EvaluationMap(element, evaluation).handle();
}

class EvaluationMap {
  constructor(element, { sessions, receivers, split }) {
    this.all = sessions;
    this.byError = [...sessions].sort((one, other) => other.error - one.error);
    this.measures = measures(sessions);
    this.scene = {
      receivers,
      sessions,
      places: placesOf(sessions),
      measure: this.measures.error,
      chosen: null,
      shows: { lines: true, ellipses: false },
    };
    this.pinned = null;
    this.layer = h("canvas");
    this.view = new View(pointsOf(sessions, receivers));
    this.build(element, split);
    this.watch();
  }

  handle() {
    return { choose: (id) => this.pin(this.all.find((session) => session.id === id) ?? null, true) };
  }

  build(element, split) {
    this.canvas = h("canvas", {
      class: "map-canvas",
      tabindex: 0,
      role: "application",
      "aria-roledescription": "map",
      "aria-label": `Map of ${this.all.length} sessions of the ${split} split. ${HELP}`,
    });
    this.hint = h("p", { class: "map-hint", hidden: true }, "Hold Ctrl to zoom with the wheel");
    this.legend = h("div", { class: "map-legend" });
    this.frame = h("div", { class: "map-frame" }, this.canvas, this.buttons(), this.hint);
    const details = h("aside", { class: "map-details", "aria-live": "polite" });
    const left = h("div", { class: "map-main" }, this.controls(), this.frame, this.legend);
    this.whole = h("div", { class: "map" }, left, details);
    replace(element, this.whole);
    this.details = mountDetails(details, {
      receivers: this.scene.receivers,
      worst: this.byError,
      onChoose: (session) => this.pin(session, true),
    });
    this.tellLegend();
  }

  controls() {
    const select = h(
      "select",
      { id: "map-colour", on: { change: () => this.colourBy(select.value) } },
      Object.entries(this.measures).map(([name, { label }]) => h("option", { value: name }, label)),
    );
    const heard = [...new Set(this.all.map((session) => session.heard))].sort((a, b) => a - b);
    this.filter = h(
      "select",
      { id: "map-heard", on: { change: () => this.show(this.filter.value) } },
      h("option", { value: "" }, "all sessions"),
      heard.map((count) => h("option", { value: count }, `heard by ${count}`)),
    );
    return h(
      "div",
      { class: "map-controls" },
      h("label", { for: "map-colour" }, "Colour"),
      select,
      h("label", { for: "map-heard" }, "Show"),
      this.filter,
      this.toggle("lines", "error lines"),
      this.toggle("ellipses", "68 % ellipses"),
    );
  }

  toggle(name, text) {
    const box = h("input", { type: "checkbox", checked: this.scene.shows[name] });
    box.addEventListener("change", () => {
      this.changed(() => (this.scene.shows[name] = box.checked));
    });
    return h("label", { class: "map-toggle" }, box, text);
  }

  buttons() {
    return h(
      "div",
      { class: "map-buttons" },
      button("Zoom in", "M10 4v12M4 10h12", () => this.magnify(1.5)),
      button("Zoom out", "M4 10h12", () => this.magnify(1 / 1.5)),
      button("Show everything", "M3 10.5 10 4l7 6.5M5 9v7h10V9", () => this.fit()),
      button("Fill the screen, or leave it", "M4 8V4h4M12 4h4v4M16 12v4h-4M8 16H4v-4", () => this.fillScreen()),
      button("Save the map as a picture", "M10 3v9M6 8.5l4 4 4-4M4 16h12", () => this.save()),
    );
  }

  watch() {
    follow(this.canvas, {
      onPan: (dx, dy) => this.changed(() => this.view.pan(dx, dy)),
      onZoom: (factor, x, y) => this.changed(() => this.view.magnify(factor, x, y)),
      onPoint: (x, y) => this.point(x, y),
      onClick: (x, y) => this.pin(this.nearest(x, y)),
      onKey: (key) => this.key(key),
      onPlainWheel: () => this.showHint(),
    });
    new ResizeObserver(() => this.fitCanvas()).observe(this.frame);
    onTheme(this.canvas, () => this.recolour());
  }

  fitCanvas() {
    const { width, height } = this.frame.getBoundingClientRect();
    if (!width || !height) return;
    const ratio = globalThis.devicePixelRatio || 1;
    this.canvas.width = this.layer.width = Math.round(width * ratio);
    this.canvas.height = this.layer.height = Math.round(height * ratio);
    this.changed(() => this.view.resize(width, height));
  }

  /** Paints anew after anything but the chosen session has changed. */
  changed(change) {
    change();
    this.isStale = true;
    this.paint();
  }

  recolour() {
    this.changed(() => this.tellLegend());
  }

  paint() {
    this.pending ??= requestAnimationFrame(() => {
      this.pending = null;
      const colours = mapColours();
      if (this.isStale) paintSessions(this.contextOf(this.layer), this.view, this.scene, colours);
      this.isStale = false;
      paint(this.contextOf(this.canvas), this.view, this.scene, colours, this.layer);
    });
  }

  contextOf(canvas) {
    const context = canvas.getContext("2d");
    const ratio = canvas.width / this.view.width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return context;
  }

  /** The session whose true or predicted place is next to a pixel, or null. */
  nearest(x, y) {
    let best = { session: null, away: REACH_PX };
    for (const session of this.scene.sessions) {
      const away = Math.min(this.away(session.east, session.north, x, y), this.away(session.putEast, session.putNorth, x, y));
      if (away < best.away) best = { session, away };
    }
    return best.session;
  }

  away(east, north, x, y) {
    const [atX, atY] = this.view.toPixels(east, north);
    return Math.hypot(atX - x, atY - y);
  }

  point(x, y) {
    const found = x === null ? null : this.nearest(x, y);
    this.canvas.classList.toggle("is-pointing", found !== null);
    this.stress(found ?? this.pinned);
  }

  pin(session, isFar = false) {
    this.pinned = session === this.pinned && !isFar ? null : session;
    if (session && isFar) this.changed(() => this.view.reveal([[session.east, session.north], [session.putEast, session.putNorth]]));
    this.scene.chosen = this.pinned;
    this.details.show(this.pinned, this.pinned !== null);
    this.paint();
  }

  stress(session) {
    if (this.scene.chosen === session) return;
    this.scene.chosen = session;
    this.details.show(session, session !== null && session === this.pinned);
    this.paint();
  }

  colourBy(name) {
    this.scene.measure = this.measures[name];
    this.recolour();
  }

  show(count) {
    this.scene.sessions = count === "" ? this.all : this.all.filter((session) => session.heard === Number(count));
    this.scene.places = placesOf(this.scene.sessions);
    if (this.pinned && !this.scene.sessions.includes(this.pinned)) this.pin(null);
    this.changed(() => {});
  }

  magnify(factor) {
    this.changed(() => this.view.magnify(factor));
  }

  fit() {
    this.changed(() => this.view.fit());
  }

  fillScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.whole.requestFullscreen().catch(() => {});
  }

  key(key) {
    const moves = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
    if (moves[key]) this.changed(() => this.view.pan(...moves[key]));
    else if (key === "+" || key === "=") this.magnify(1.4);
    else if (key === "-") this.magnify(1 / 1.4);
    else if (key === "0") this.fit();
    else if (key === "Escape") this.pin(null);
    else if (key === "n" || key === "p") this.step(key === "n" ? 1 : -1);
    else return false;
    return true;
  }

  step(by) {
    const shown = this.byError.filter((session) => this.scene.sessions.includes(session));
    const next = this.pinned ? shown.indexOf(this.pinned) + by : 0;
    if (shown[next]) this.pin(shown[next], true);
  }

  showHint() {
    this.hint.hidden = false;
    clearTimeout(this.hiding);
    this.hiding = setTimeout(() => (this.hint.hidden = true), 1500);
  }

  tellLegend() {
    const { scale } = mapColours();
    const { top, text, label } = this.scene.measure;
    const bar = h("span", { class: "map-scale", "aria-hidden": "true" });
    const stops = [0, 0.25, 0.5, 0.75, 1].map((share) => colourAt(scale, share));
    bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    replace(
      this.legend,
      h("span", { class: "key key-receiver" }, "receiver"),
      h("span", { class: "key key-truth" }, "true position"),
      h("span", { class: "key key-estimate" }, "prediction"),
      h("span", { class: "map-scale-row" }, `${label} ${text(0)}`, bar, `${text(top)} and more`),
      h("span", { class: "map-unit" }, "grid in km"),
    );
  }

  save() {
    this.canvas.toBlob((blob) => {
      const link = h("a", { href: URL.createObjectURL(blob), download: "map.png" });
      link.click();
      URL.revokeObjectURL(link.href);
    });
  }
}

function button(label, path, act) {
  const icon = svg("svg", { viewBox: "0 0 20 20", width: 16, height: 16, "aria-hidden": "true" }, svg("path", { d: path }));
  return h("button", { type: "button", class: "map-button", "aria-label": label, title: label, on: { click: act } }, icon);
}

/** Transmitters that were recorded more than once, with their names. */
function placesOf(sessions) {
  const found = new Map();
  for (const { source, east, north } of sessions) {
    if (!source) continue;
    const place = found.get(source) ?? { name: source, east, north, count: 0 };
    place.count += 1;
    found.set(source, place);
  }
  return [...found.values()].filter((place) => place.count >= FEWEST_OF_A_PLACE).sort((a, b) => b.count - a.count);
}

function pointsOf(sessions, receivers) {
  return [
    ...sessions.flatMap((session) => [[session.east, session.north], [session.putEast, session.putNorth]]),
    ...receivers.map((receiver) => [receiver.east, receiver.north]),
  ];
}
