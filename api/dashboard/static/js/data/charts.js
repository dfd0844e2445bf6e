/** Counts as bars, columns and a matrix: plain elements that keep their numbers readable. */

import { h } from "../core/dom.js";
import { number } from "../core/format.js";

/** Rows of [label, count] with a bar each. */
export function bars(rows, { caption }) {
  const most = Math.max(...rows.map(([, n]) => n), 1);
  return h(
    "table",
    { class: "data-bars" },
    h("caption", { class: "visually-hidden" }, caption),
    h("tbody", {}, rows.map(([label, n]) => bar(label, n, most))),
  );
}

/** Columns of [label, count, title] side by side; `label` is the text alternative. */
export function columns(items, { label }) {
  const most = Math.max(...items.map(([, n]) => n), 1);
  const every = Math.ceil(items.length / 8);
  return h(
    "div",
    { class: "data-columns", role: "img", "aria-label": label },
    items.map(([name, n, title], index) =>
      h(
        "div",
        { class: "data-column", title },
        h("span", { class: "data-column-bar", style: { height: `calc((100% - 1.3rem) * ${n / most})` } }),
        h("span", { class: "data-column-name" }, index % every ? "" : name),
      ),
    ),
  );
}

/** A square of counts: rows and columns are the same names; the diagonal is each one's own. */
export function matrix(names, counts, { caption }) {
  const most = Math.max(1, ...counts.flatMap((row, i) => row.filter((_, j) => i !== j)));
  return h(
    "div",
    { class: "data-matrix-wrap", tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      { class: "data-matrix" },
      h("caption", { class: "visually-hidden" }, caption),
      h("thead", {}, h("tr", {}, h("td", {}), names.map((name) => h("th", { scope: "col" }, h("span", {}, name))))),
      h("tbody", {}, counts.map((row, i) => h("tr", {}, h("th", { scope: "row" }, names[i]), row.map((n, j) => cell(n, i === j, n / most, `${names[i]} and ${names[j]}`))))),
    ),
  );
}

function bar(label, n, most) {
  const fill = h("span", { class: "data-bar", style: { width: `${(100 * n) / most}%` } });
  return h("tr", {}, h("th", { scope: "row" }, label), h("td", { class: "data-bar-cell" }, fill), h("td", { class: "numeric" }, number(n)));
}

function cell(n, isOwn, share, pair) {
  const style = isOwn ? {} : { background: `color-mix(in srgb, var(--accent) ${Math.round(38 * Math.min(share, 1))}%, transparent)` };
  return h("td", { class: isOwn ? "data-own" : "", title: isOwn ? "" : pair, style }, number(n));
}
