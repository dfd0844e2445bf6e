/** Heads of table columns. */

import { h } from "../core/dom.js";

const NUMERIC = new Set(["Attempt", "Took", "Size", "Epoch", "Step"]);

/** The head of a column; numbers stand to the right, and so does what they are called. */
export function columnHead(name) {
  return h("th", { scope: "col", class: NUMERIC.has(name) ? "numeric" : null }, name);
}
