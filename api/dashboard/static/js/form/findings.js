/** What is wrong with the request, or to be minded, shown at the fields that it is about. */

import { $, $$, h, replace } from "../core/dom.js";

/** Shows problems and warnings at their fields; answers with those that no field could take. */
export function showFindings(form, { problems, warnings }) {
  for (const row of $$("[data-pointer]", form)) clear(row);
  const rest = [...problems.map((one) => [one, true]), ...warnings.map((one) => [one, false])].filter(
    ([finding, isProblem]) => !shownAt(form, finding, isProblem),
  );
  return rest.map(([finding, isProblem]) => ({ ...finding, isProblem }));
}

/** Puts the focus on the first control with a problem, its fold opened; whether there is one. */
export function focusFirstProblem(form) {
  const first = $('[aria-invalid="true"]', form);
  first?.focus();
  return Boolean(first);
}

/** A finding as an item of a list. */
export function findingItem(finding) {
  return h(
    "li",
    {},
    finding.pointer && [h("code", {}, finding.pointer.replace(/^#/, "")), " "],
    finding.detail,
    finding.hint && h("span", { class: "hint" }, " ", finding.hint),
  );
}

function clear(row) {
  const error = own(row, ".field-error");
  if (error) {
    error.hidden = true;
    error.textContent = "";
    error.classList.remove("field-warning");
  }
  controlOf(row)?.removeAttribute("aria-invalid");
}

function shownAt(form, finding, isProblem) {
  const row = nearest(form, finding.pointer);
  const error = row && own(row, ".field-error");
  if (!error) return false;
  const text = [finding.detail, finding.hint].filter(Boolean).join(" ");
  replace(error, h("span", {}, capitalized(text)), ...[...error.childNodes].flatMap((node) => [" ", node]));
  error.hidden = false;
  if (isProblem) controlOf(row)?.setAttribute("aria-invalid", "true");
  error.classList.toggle("field-warning", !isProblem && !controlOf(row)?.hasAttribute("aria-invalid"));
  const fold = row.closest("details");
  if (fold && isProblem) fold.open = true;
  return !fold || fold.open;
}

/** The row of the pointer, else the first row below it, else that of the nearest ancestor. */
function nearest(form, pointer) {
  if (!pointer) return null;
  const wanted = pointer.replace(/^#/, "");
  const rows = new Map($$("[data-pointer]", form).reverse().map((row) => [row.dataset.pointer, row]));
  if (rows.has(wanted)) return rows.get(wanted);
  const below = [...rows.keys()].reverse().find((one) => one.startsWith(`${wanted}/`));
  if (below) return rows.get(below);
  const parent = wanted.slice(0, wanted.lastIndexOf("/"));
  return parent ? nearestAbove(rows, parent) : null;
}

function nearestAbove(rows, pointer) {
  if (rows.has(pointer)) return rows.get(pointer);
  const parent = pointer.slice(0, pointer.lastIndexOf("/"));
  return parent ? nearestAbove(rows, parent) : null;
}

function own(row, selector) {
  return $$(selector, row).find((element) => element.closest("[data-pointer]") === row);
}

function controlOf(row) {
  return own(row, "input, select") ?? null;
}

function capitalized(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
