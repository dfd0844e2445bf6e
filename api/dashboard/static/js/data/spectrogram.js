/** Spectrograms of a session as the network sees them: one picture for each receiver, on one scale of colours. */

import { h, setText } from "../core/dom.js";
import { fixed, number } from "../core/format.js";

const MAGMA = ["#000004", "#180f3d", "#440f76", "#721f81", "#9e2f7f", "#cd4071", "#f1605d", "#fd9668", "#feca8d", "#fcfdbf"];
const TICKS_KHZ = [-6, -4, -2, -1, 0, 1, 2, 4, 6];
const LOWEST_DB = -5;
const LEAST_RANGE_DB = 25;
const BRIGHTEST = 0.997;
const TABLE = colourTable();

/** The pictures, strongest receiver first, and the scale that they share. */
export function spectrograms(found) {
  const highest = brightest(found);
  const ordered = [...found.receivers].sort((a, b) => b.snr_db - a.snr_db);
  return h(
    "div",
    { class: "spectrograms" },
    scale(highest),
    h("div", { class: "spectrogram-grid" }, ordered.map((receiver) => panel(found, receiver, highest))),
  );
}

function panel(found, receiver, highest) {
  const readout = h("span", { class: "spectrogram-readout hint" }, levelsText(receiver));
  const canvas = paint(receiver.over_floor_db, highest);
  canvas.addEventListener("pointermove", (event) => setText(readout, pointText(event, canvas, found, receiver)));
  canvas.addEventListener("pointerleave", () => setText(readout, levelsText(receiver)));
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", alternative(found, receiver));
  return h(
    "figure",
    { class: "spectrogram" },
    h("figcaption", {}, h("strong", {}, receiver.receiver), h("span", { class: "spacer" }), h("span", {}, `${fixed(receiver.snr_db, 1)} dB over the floor`)),
    h("div", { class: "spectrogram-plot" }, h("div", { class: "spectrogram-y", "aria-hidden": "true" }, yTicks(found)), canvas, h("div", { class: "spectrogram-x", "aria-hidden": "true" }, xTicks(found))),
    readout,
  );
}

function paint(rows, highest) {
  const [bands, frames] = [rows.length, rows[0].length];
  const canvas = h("canvas", { class: "spectrogram-image", width: frames, height: bands });
  const context = canvas.getContext("2d");
  const image = context.createImageData(frames, bands);
  rows.forEach((row, band) => row.forEach((db, frame) => image.data.set(colourOf(db, highest), 4 * ((bands - 1 - band) * frames + frame))));
  context.putImageData(image, 0, 0);
  return canvas;
}

function colourOf(db, highest) {
  const share = (db - LOWEST_DB) / (highest - LOWEST_DB);
  return TABLE[Math.round(255 * Math.min(Math.max(share, 0), 1))];
}

function colourTable() {
  const stops = MAGMA.map((hex) => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)));
  return Array.from({ length: 256 }, (_, i) => {
    const place = (i / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    return [...[0, 1, 2].map((part) => Math.round(stops[low][part] + (place - low) * (stops[low + 1][part] - stops[low][part]))), 255];
  });
}

function brightest(found) {
  const all = found.receivers.flatMap((receiver) => receiver.over_floor_db.flat()).sort((a, b) => a - b);
  return Math.max(all[Math.floor(BRIGHTEST * (all.length - 1))] ?? 0, LOWEST_DB + LEAST_RANGE_DB);
}

function scale(highest) {
  const canvas = h("canvas", { width: 256, height: 1, class: "spectrogram-scale", "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  const image = context.createImageData(256, 1);
  TABLE.forEach((colour, i) => image.data.set(colour, 4 * i));
  context.putImageData(image, 0, 0);
  const names = [LOWEST_DB, (LOWEST_DB + highest) / 2, highest].map((db) => h("span", {}, number(db, 0)));
  return h("div", { class: "spectrogram-key" }, h("span", { class: "hint" }, "dB over the noise floor"), h("div", {}, canvas, h("div", { class: "spectrogram-key-names" }, names)));
}

/** Where a frequency lies between the first and the last row, 0 to 1: the rows are not evenly spaced. */
function heightOf(frequencies, hz) {
  const above = frequencies.findIndex((one) => one >= hz);
  if (above <= 0) return above === 0 ? 0 : 1;
  const part = (hz - frequencies[above - 1]) / (frequencies[above] - frequencies[above - 1]);
  return (above - 1 + part + 0.5) / frequencies.length;
}

function yTicks(found) {
  const half = found.features.sample_rate_hz / 2000;
  const shown = TICKS_KHZ.filter((khz) => Math.abs(khz) < half);
  return shown.map((khz) => h("span", { style: { bottom: `${100 * heightOf(found.frequency_hz, khz * 1000)}%` } }, khz === 6 ? "6 kHz" : khz));
}

function xTicks(found) {
  const total = found.segment_seconds * 1000;
  const steps = [0, 100, 200, 300].filter((ms) => ms <= total);
  return steps.map((ms) => h("span", { style: { left: `${(100 * ms) / total}%` } }, ms === steps.at(-1) ? `${ms} ms` : ms));
}

function levelsText(receiver) {
  const from = { stated: "stated", recording: "measured", segment: "estimated" }[receiver.noise_floor_from];
  return `${number(receiver.power_dbfs, 1)} dBFS in the channel, floor ${number(receiver.noise_floor_dbfs, 1)} dBFS (${from}), carrier ${offsetText(receiver.carrier_offset_hz)}`;
}

function offsetText(hz) {
  return `${hz < 0 ? "-" : "+"}${number(Math.abs(hz), 0)} Hz`;
}

function pointText(event, canvas, found, receiver) {
  const box = canvas.getBoundingClientRect();
  const frame = clamp(Math.floor(((event.clientX - box.left) / box.width) * found.time_seconds.length), found.time_seconds.length);
  const band = clamp(Math.floor((1 - (event.clientY - box.top) / box.height) * found.frequency_hz.length), found.frequency_hz.length);
  const db = receiver.over_floor_db[band][frame];
  return `${number(found.frequency_hz[band] / 1000, 2)} kHz, ${number(found.time_seconds[frame] * 1000, 0)} ms: ${number(db, 1)} dB over the floor`;
}

function clamp(place, length) {
  return Math.min(Math.max(place, 0), length - 1);
}

function alternative(found, receiver) {
  const means = receiver.over_floor_db.map((row) => row.reduce((a, b) => a + b, 0) / row.length);
  const peak = means.indexOf(Math.max(...means));
  return `Spectrogram of ${receiver.receiver}: ${number(receiver.snr_db, 1)} dB over the noise floor, brightest at ${number(found.frequency_hz[peak] / 1000, 2)} kHz with ${number(means[peak], 0)} dB.`;
}
