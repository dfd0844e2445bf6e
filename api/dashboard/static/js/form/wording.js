/** The words of the schema as a person reads them: hints, bounds, what an empty field means. */

import { h } from "../core/dom.js";
import { number } from "../core/format.js";

const NULL_PART = /[;.,]?\s*\bnull: ([^.;]+)[.;]?/i;

/** What null means by the description: "never", "no clipping"; else "none". */
export function wordForNull(field) {
  return field.description.match(NULL_PART)?.[1].trim() ?? "none";
}

/** The description without what it says of null, and the bounds; ``code`` becomes an element. */
export function hintOf(field) {
  const text = field.description.replace(NULL_PART, ".").replaceAll("\n", " ").trim();
  return [...marked(text), boundsOf(field) && ` ${boundsOf(field)}`];
}

/** What an empty field stands for, as a placeholder. */
export function placeholderOf(field) {
  if (field.default === null || (field.default === undefined && field.isNullable)) return wordForNull(field);
  return field.default === undefined ? "" : String(field.default);
}

/** Text in which ``words`` are code. */
export function marked(text) {
  return text.split("``").map((part, index) => (index % 2 ? h("code", {}, part) : part));
}

function boundsOf({ schema, type }) {
  if (type !== "integer" && type !== "number") return "";
  const low = schema.minimum ?? schema.exclusiveMinimum;
  const from = low === undefined ? "" : `${schema.minimum === undefined ? "above" : "from"} ${number(low, 9)}`;
  const to = schema.maximum === undefined ? "" : `up to ${number(schema.maximum, 9)}`;
  const said = [from, to].filter(Boolean).join(" ");
  return said && `${said.charAt(0).toUpperCase()}${said.slice(1)}.`;
}
