/** A map without tiles: places and receivers on a local plane, with a scale bar and names from the data. */

import { h, replace, svg } from "../core/dom.js";
import { lengthText, roundLength } from "../core/lengths.js";
import { aboutOrigin, centreOf } from "./plane.js";

const MARGIN = 34;
const MIN_SPAN_KM = 2;
const KINDS = {
  train: "training",
  val: "validation",
  test: "test",
  any: "sessions",
  pending: "pending",
  approved: "approved",
  rejected: "rejected",
  source: "source",
};

const drawn = new WeakMap();
const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => redraw(target)));

/**
 * Draws `places` ({latitude, longitude, kind, size, title, href}) and `receivers` ({name, latitude, longitude}).
 *
 * `lines`: whether each place is joined to every receiver; `label`: the text alternative.
 */
export function drawMap(element, { places, receivers = [], lines = false, label, names = true }) {
  const isNew = !drawn.has(element);
  drawn.set(element, { places, receivers, lines, label, names, width: 0 });
  element.classList.add("data-map");
  if (isNew) sizes.observe(element);
  redraw(element);
}

function redraw(element) {
  const wanted = drawn.get(element);
  const width = Math.floor(element.clientWidth);
  if (!wanted || !width || width === wanted.width) return;
  wanted.width = width;
  const all = [...wanted.places, ...wanted.receivers];
  if (!all.length) return void replace(element, h("p", { class: "hint" }, "No position is known."));
  replace(element, picture(wanted, frameOf(all, width)), legend(wanted));
}

function frameOf(all, width) {
  const plane = aboutOrigin(centreOf(all));
  const points = all.map(plane);
  const [low, high] = [0, 1].map((end) => [0, 1].map((axis) => extreme(points, axis, end)));
  const span = [0, 1].map((axis) => Math.max(high[axis] - low[axis], MIN_SPAN_KM));
  const middle = [0, 1].map((axis) => (low[axis] + high[axis]) / 2);
  const height = Math.round(Math.min(Math.max((width * span[1]) / span[0], width * 0.55, 220), Math.max(width, 300), 460));
  const scale = Math.min((width - 2 * MARGIN) / span[0], (height - 2 * MARGIN) / span[1]);
  const toPixels = (place) => {
    const [east, north] = plane(place);
    return [width / 2 + (east - middle[0]) * scale, height / 2 - (north - middle[1]) * scale];
  };
  return { width, height, scale, toPixels };
}

function extreme(points, axis, end) {
  return points.reduce((found, point) => (end ? Math.max(found, point[axis]) : Math.min(found, point[axis])), end ? -Infinity : Infinity);
}

function picture(wanted, frame) {
  const { width, height } = frame;
  const role = wanted.places.some((place) => place.href) ? "group" : "img";
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role, "aria-label": wanted.label ?? "Map" });
  if (wanted.lines) root.append(...wanted.places.flatMap((place) => wanted.receivers.map((one) => line(frame, place, one))));
  root.append(...wanted.places.map((place) => dot(frame, place)));
  if (wanted.names) root.append(...placedNames(frame, wanted));
  root.append(...wanted.receivers.map((one) => triangle(frame, one)));
  root.append(scaleBar(frame), northArrow(frame));
  return root;
}

function dot(frame, place) {
  const [cx, cy] = frame.toPixels(place);
  const r = place.kind === "source" ? 6 : Math.min(2.6 + Math.sqrt(place.size ?? 1) * 0.5, 9);
  const circle = svg("circle", { cx, cy, r, class: `map-place map-${place.kind}` }, place.title && svg("title", {}, place.title));
  return place.href ? svg("a", { href: place.href, tabindex: -1 }, circle) : circle;
}

function triangle(frame, receiver) {
  const [x, y] = frame.toPixels(receiver);
  const points = `${x},${y - 6} ${x + 5.5},${y + 4} ${x - 5.5},${y + 4}`;
  const text = receiver.title ?? receiver.name;
  return svg("polygon", { points, class: receiver.isSilent ? "map-receiver map-silent" : "map-receiver" }, svg("title", {}, text));
}

function line(frame, place, receiver) {
  const [x1, y1] = frame.toPixels(place);
  const [x2, y2] = frame.toPixels(receiver);
  return svg("line", { x1, y1, x2, y2, class: "map-line" });
}

/** Names beside, above or below their receivers; one that would cover something everywhere is left out. */
function placedNames(frame, { receivers, places }) {
  const corner = { left: frame.width - 30, top: 0, right: frame.width, bottom: 38 };
  const marks = [...receivers, ...places.filter((place) => place.kind === "source")];
  const taken = [corner, ...marks.map((one) => around(frame.toPixels(one)))];
  return receivers.flatMap((receiver) => {
    const wide = receiver.name.length * 6.5 + 2;
    const free = besides(frame.toPixels(receiver), wide).find((one) => isFree(one, frame, taken));
    if (!free) return [];
    taken.push(free);
    return [svg("text", { x: free.x, y: free.top + 11, class: `map-name map-name-${free.anchor}` }, receiver.name)];
  });
}

/** Where a name may stand, the best place first. */
function besides([x, y], wide) {
  const start = (dy) => ({ x: x + 9, anchor: "start", left: x + 9, top: y + dy });
  const end = (dy) => ({ x: x - 9, anchor: "end", left: x - 9 - wide, top: y + dy });
  const middle = (dy) => ({ x, anchor: "middle", left: x - wide / 2, top: y + dy });
  const all = [start(-7), end(-7), middle(-22), middle(6), start(3), start(-17), end(3), end(-17)];
  return all.map((one) => ({ ...one, right: one.left + wide, bottom: one.top + 14 }));
}

function around([x, y]) {
  return { left: x - 6, top: y - 6, right: x + 6, bottom: y + 5 };
}

function isFree(box, { width, height }, taken) {
  const isInside = box.left >= 2 && box.right <= width - 2 && box.top >= 2 && box.bottom <= height - 2;
  return isInside && !taken.some((other) => overlaps(box, other));
}

function overlaps(a, b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

function scaleBar({ width, height, scale }) {
  const km = roundLength((width * 0.28) / scale);
  const long = km * scale;
  const y = height - 12;
  const path = svg("path", { d: `M10 ${y - 4}v4h${long}v-4`, class: "map-scale" });
  return svg("g", {}, path, svg("text", { x: 14, y: y - 5, class: "map-small" }, lengthText(km)));
}

function northArrow({ width }) {
  const x = width - 16;
  const arrow = svg("path", { d: `M${x} 10l4 11h-8z`, class: "map-north" });
  return svg("g", {}, arrow, svg("text", { x, y: 33, class: "map-small map-middle" }, "N"));
}

function legend({ places, receivers }) {
  const kinds = [...new Set(places.map((place) => place.kind))].sort((a, b) => Object.keys(KINDS).indexOf(a) - Object.keys(KINDS).indexOf(b));
  const items = kinds.map((kind) => h("li", {}, mark(svg("circle", { cx: 6, cy: 6, r: 4.5, class: `map-place map-${kind}` })), KINDS[kind]));
  if (receivers.some((one) => !one.isSilent)) items.push(h("li", {}, mark(svg("polygon", { points: "6,1 11.5,11 0.5,11", class: "map-receiver" })), "receivers"));
  if (receivers.some((one) => one.isSilent)) items.push(h("li", {}, mark(svg("polygon", { points: "6,1 11.5,11 0.5,11", class: "map-receiver map-silent" })), "heard nothing"));
  return h("ul", { class: "map-legend" }, items);
}

function mark(shape) {
  return svg("svg", { viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" }, shape);
}
