/** By what the predictions of a map are coloured, and the colours of the theme. */

import { metres, number } from "../core/format.js";
import { quantile } from "./evaluation.js";

const STEPS = 5;

/** What predictions can be coloured by: {label, valueOf, top, text}; `top` is where the scale ends. */
export function measures(sessions) {
  return {
    error: {
      label: "error",
      valueOf: (session) => session.error,
      top: quantile(sessions.map((session) => session.error), 0.95) || 1,
      text: metres,
    },
    surprise: {
      label: "error in σ",
      valueOf: (session) => Math.sqrt(session.squared),
      top: 3,
      text: (value) => `${number(value, 1)} σ`,
    },
    heard: {
      label: "receivers that heard it",
      valueOf: (session) => session.heard,
      top: sessions.reduce((most, session) => Math.max(most, session.heard), 1),
      text: (value) => number(value),
    },
  };
}

/** The colours of a map in the present theme: those of css variables by name, and `scale`, from low to high. */
export function mapColours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    ground: read("--map-ground"),
    grid: read("--map-grid"),
    ink: read("--ink"),
    muted: read("--muted"),
    halo: read("--map-ground"),
    receiver: read("--map-receiver"),
    accent: read("--accent"),
    scale: Array.from({ length: STEPS }, (_, i) => parsed(read(`--error-${i}`))),
  };
}

/** Calls `act` whenever the theme changes, for as long as the element is in the page. */
export function onTheme(element, act) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const told = () => {
    if (element.isConnected) return act();
    observer.disconnect();
    return dark.removeEventListener("change", told);
  };
  const observer = new MutationObserver(told);
  observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  dark.addEventListener("change", told);
}

/** The colour of a share between 0 and 1 of the scale. */
export function colourAt(scale, share) {
  const place = Math.min(Math.max(share, 0), 1) * (scale.length - 1);
  const low = Math.min(Math.floor(place), scale.length - 2);
  const mixed = scale[low].map((part, i) => Math.round(part + (place - low) * (scale[low + 1][i] - part)));
  return `rgb(${mixed.join(" ")})`;
}

function parsed(colour) {
  return colour.match(/[\d.]+/g).slice(0, 3).map(Number);
}
