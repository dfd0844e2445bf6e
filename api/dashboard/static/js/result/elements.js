/** Tables and facts as every part of a result, and of a model, shows them. */

import { h } from "../core/dom.js";

/** A table that scrolls sideways; `head`: texts, [text, class] or cells; `rows`: <tr> elements, or a <tbody>. */
export function tableOf(kind, head, rows) {
  const body = rows instanceof Node ? rows : h("tbody", {}, rows);
  return h("div", { class: "table-wrap" }, h("table", { class: ["table", kind] }, h("thead", {}, h("tr", {}, head.map(headCell))), body));
}

/** A term of a definition list and what it is. */
export function fact(name, value) {
  return [h("dt", {}, name), h("dd", {}, value)];
}

/** A cell with a number. */
export function numeric(text, kind) {
  return h("td", { class: ["numeric", kind] }, text);
}

/** The head of a row. */
export function rowHead(...content) {
  return h("th", { scope: "row" }, content);
}

function headCell(cell) {
  if (cell instanceof Node) return cell;
  const [text, kind] = [cell].flat();
  return text ? h("th", { scope: "col", class: kind }, text) : h("td");
}
