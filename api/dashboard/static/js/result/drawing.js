/** The layers of a map on a canvas, from the ground up. */

import { metres, number } from "../core/format.js";
import { lengthText, roundLength } from "../core/lengths.js";
import { colourAt } from "./colours.js";
import { squaredRadius } from "./evaluation.js";
import { Labels, haloed } from "./labels.js";
import { ellipseOf } from "./plane.js";

const GRID_PX = 110;
const BAR_SHARE = 0.22;
const NAME_FONT = "600 12px system-ui, sans-serif";
const SMALL_FONT = "11px system-ui, sans-serif";
const FAINT = 0.16;

/** Paints all sessions alike: what stays while one after another is pointed at. */
export function paintSessions(context, view, scene, colours) {
  context.clearRect(0, 0, view.width, view.height);
  new Painter(context, view, scene, colours).sessions();
}

/**
 * Paints a map: `view` says which part, `scene` what: {receivers, sessions, places, measure, chosen, shows}.
 *
 * `chosen`: the session that stands out, or null; `shows`: {lines, ellipses}; `layer`: the painted sessions.
 */
export function paint(context, view, scene, colours, layer) {
  context.fillStyle = colours.ground;
  context.fillRect(0, 0, view.width, view.height);
  paintGrid(context, view, colours);
  context.globalAlpha = scene.chosen ? FAINT : 1;
  context.drawImage(layer, 0, 0, view.width, view.height);
  context.globalAlpha = 1;
  const painter = new Painter(context, view, scene, colours);
  if (scene.chosen) painter.chosen(scene.chosen);
  painter.receivers();
  painter.names();
  painter.scaleBar();
}

class Painter {
  constructor(context, view, scene, colours) {
    Object.assign(this, { context, view, scene, colours });
    this.labels = new Labels(context, view.width, view.height);
    this.bar = barOf(view);
    this.labels.reserve([0, view.height - 44, this.bar.px + 32, view.height]);
    this.labels.reserve([view.width - 60, 0, view.width, 60]);
    this.labels.reserve([view.width - 50, view.height - 180, view.width, view.height]);
    this.dots = Math.min(1.5, Math.max(1, Math.sqrt(view.zoom) * 0.9)) * Math.min(1, (600 / scene.sessions.length) ** 0.3);
  }

  colourOf(session) {
    const { measure } = this.scene;
    return colourAt(this.colours.scale, measure.valueOf(session) / measure.top);
  }

  sessions() {
    const { sessions, shows } = this.scene;
    if (shows.ellipses) sessions.forEach((session) => this.ellipse(session, 0.68, { alpha: 0.07, edge: 0.35 }));
    if (shows.lines) sessions.forEach((session) => this.error(session, 2.6 * this.dots, 0.5));
    sessions.forEach((session) => this.truth(session, 3 * this.dots));
    sessions.forEach((session) => this.estimate(session, 3.6 * this.dots));
  }

  chosen(session) {
    this.ellipse(session, 0.95, { alpha: 0.05, edge: 0.5, dash: [5, 4] });
    this.ellipse(session, 0.68, { alpha: 0.16, edge: 1 });
    this.rays(session);
    this.error(session, 7, 0.95);
    this.truth(session, 6);
    this.estimate(session, 6.5);
    this.errorText(session);
  }

  /** From the receivers that heard the session, the stronger the more solid. */
  rays(session) {
    const { context, view, scene, colours } = this;
    const to = view.toPixels(session.east, session.north);
    scene.receivers.forEach((receiver, i) => {
      const snr = session.snr?.[i] ?? null;
      if (snr === null) return;
      context.save();
      context.globalAlpha = Math.min(0.9, Math.max(0.2, snr / 40));
      stroke(context, colours.receiver, 1.2, [2, 4]);
      segment(context, view.toPixels(receiver.east, receiver.north), to);
      context.restore();
    });
  }

  /** From the true place to the prediction, where it is widest. */
  error(session, width, alpha) {
    const { context, view } = this;
    const [x, y] = view.toPixels(session.east, session.north);
    const [toX, toY] = view.toPixels(session.putEast, session.putNorth);
    const half = width / 2 / (Math.hypot(toX - x, toY - y) || 1);
    const [acrossX, acrossY] = [(toY - y) * half, (x - toX) * half];
    const before = context.globalAlpha;
    context.globalAlpha = before * alpha;
    context.fillStyle = this.colourOf(session);
    path(context, [[x, y], [toX + acrossX, toY + acrossY], [toX - acrossX, toY - acrossY]], true);
    context.fill();
    context.globalAlpha = before;
  }

  truth(session, radius) {
    const { context, view, colours } = this;
    circle(context, view.toPixels(session.east, session.north), radius);
    context.fillStyle = colours.ground;
    context.fill();
    stroke(context, colours.ink, radius > 5 ? 2 : 1.1);
    context.stroke();
  }

  estimate(session, radius) {
    const { context, view, colours } = this;
    circle(context, view.toPixels(session.putEast, session.putNorth), radius);
    context.fillStyle = this.colourOf(session);
    context.fill();
    stroke(context, colours.halo, radius > 5 ? 1.6 : 0.7);
    context.stroke();
  }

  ellipse(session, share, { alpha, edge, dash = [] }) {
    const { context, view } = this;
    const { major, minor, angle } = ellipseOf(session, squaredRadius(share));
    const [x, y] = view.toPixels(session.putEast, session.putNorth);
    const before = context.globalAlpha;
    context.beginPath();
    context.ellipse(x, y, major * view.scale, minor * view.scale, -angle, 0, 2 * Math.PI);
    context.fillStyle = context.strokeStyle = this.colourOf(session);
    context.globalAlpha = before * alpha;
    context.fill();
    context.globalAlpha = before * edge;
    context.lineWidth = 1.3;
    context.setLineDash(dash);
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = before;
  }

  errorText(session) {
    const from = this.view.toPixels(session.east, session.north);
    const to = this.view.toPixels(session.putEast, session.putNorth);
    const [x, y] = [(from[0] + to[0]) / 2, (from[1] + to[1]) / 2];
    this.context.font = NAME_FONT;
    const half = this.context.measureText(metres(session.error)).width / 2 + 4;
    this.labels.reserve([x - half, y - 9, x + half, y + 9]);
    haloed(this.context, metres(session.error), x, y, { ink: this.colours.ink, halo: this.colours.halo });
  }

  receivers() {
    const { context, view, scene, colours } = this;
    for (const receiver of scene.receivers) {
      const [x, y] = view.toPixels(receiver.east, receiver.north);
      triangle(context, x, y, 8);
      context.fillStyle = colours.receiver;
      context.fill();
      stroke(context, colours.halo, 1.5);
      context.stroke();
      this.labels.reserve([x - 8, y - 9, x + 8, y + 7]);
    }
  }

  names() {
    const { context, colours, scene } = this;
    context.font = NAME_FONT;
    scene.receivers.forEach((receiver) => this.name(receiver, colours.ink));
    context.font = SMALL_FONT;
    scene.places.forEach((place) => this.name(place, colours.ink));
  }

  name({ name, east, north }, ink) {
    const [x, y] = this.view.toPixels(east, north);
    if (!this.view.shows(x, y)) return;
    const spot = this.labels.place(name, x, y);
    if (spot) haloed(this.context, name, spot.x, spot.y, { ink, halo: this.colours.halo });
  }

  scaleBar() {
    const { context, view, colours, bar } = this;
    const [x, y] = [16, view.height - 16];
    stroke(context, colours.halo, 6);
    segment(context, [x - 1, y], [x + bar.px + 1, y]);
    stroke(context, colours.ink, 2.5);
    path(context, [[x, y - 6], [x, y], [x + bar.px, y], [x + bar.px, y - 6]]);
    context.font = SMALL_FONT;
    haloed(context, lengthText(bar.km), x + bar.px / 2, y - 13, { ink: colours.ink, halo: colours.halo });
    northArrow(context, view.width - 26, 34, colours);
  }
}

function barOf(view) {
  const km = roundLength((BAR_SHARE * Math.min(view.width, 700)) / view.scale);
  return { km, px: km * view.scale };
}

function paintGrid(context, view, colours) {
  const step = roundLength(GRID_PX / view.scale);
  const [west, north] = view.toPlane(0, 0);
  const [east, south] = view.toPlane(view.width, view.height);
  stroke(context, colours.grid, 1);
  context.font = SMALL_FONT;
  context.fillStyle = colours.muted;
  for (const km of multiples(step, west, east)) {
    const x = Math.round(view.toPixels(km, 0)[0]) + 0.5;
    segment(context, [x, 0], [x, view.height]);
    gridText(context, km, x + 4, 10);
  }
  for (const km of multiples(step, south, north)) {
    const y = Math.round(view.toPixels(0, km)[1]) + 0.5;
    segment(context, [0, y], [view.width, y]);
    if (y < view.height - 50) gridText(context, km, 4, y - 7);
  }
}

function gridText(context, km, x, y) {
  context.save();
  context.globalAlpha = 0.75;
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillText(number(km, 2).replace("-", "−"), x, y);
  context.restore();
}

function* multiples(step, low, high) {
  for (let i = Math.ceil(low / step); i * step <= high; i += 1) yield Number((i * step).toPrecision(8));
}

function northArrow(context, x, y, colours) {
  path(context, [[x, y - 16], [x + 6, y], [x, y - 4], [x - 6, y]], true);
  context.fillStyle = colours.ink;
  context.fill();
  context.font = NAME_FONT;
  haloed(context, "N", x, y + 10, { ink: colours.ink, halo: colours.halo });
}

function stroke(context, colour, width, dash = []) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.setLineDash(dash);
}

function segment(context, from, to) {
  path(context, [from, to]);
}

function path(context, points, isClosed = false) {
  context.beginPath();
  points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  if (isClosed) context.closePath();
  else context.stroke();
}

function circle(context, [x, y], radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.setLineDash([]);
}

function triangle(context, x, y, size) {
  context.setLineDash([]);
  path(context, [[x, y - size], [x + size * 0.9, y + size * 0.7], [x - size * 0.9, y + size * 0.7]], true);
}
