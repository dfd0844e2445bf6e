/** One row for each field that holds a single value: label, control, hint, and a place for what is wrong with it. */

import { h, replace } from "../core/dom.js";
import { models, trainings } from "./choices.js";
import { hintOf, placeholderOf, wordForNull } from "./wording.js";

const ROWS = { boolean: switchRow, choice: choiceRow, time: timeRow };
const NUMBERS = new Set(["integer", "number"]);
const SUGGESTED = { "/model/name": models, "/source/job_id": trainings };

/** The row of a field that holds a single value. */
export function valueRow(field, draft) {
  return (ROWS[field.type] ?? textRow)(field, draft);
}

/** The element that holds a row, found by the field's pointer. */
export function rowOf(field, control, { extra } = {}) {
  const hint = hintOf(field).filter(Boolean);
  describedBy(control, field, hint.length);
  return h(
    "div",
    { class: ["form-row", field.type === "boolean" && "form-row-switch"], dataset: { pointer: field.pointer } },
    h("label", { for: control.id }, field.title, field.isRequired && h("span", { class: "required" }, "required")),
    control,
    extra,
    hint.length > 0 && h("p", { class: "hint", id: `${control.id}-hint` }, hint),
    h("p", { class: "field-error", id: `${control.id}-error`, hidden: true }),
  );
}

/** The id of a field's control. */
export function idOf(field) {
  return `field${field.pointer.replaceAll(/[^A-Za-z0-9_]/g, "-")}`;
}

/** A select of `{value, label}`; what stands there and is no choice is kept as one. */
export function selectOf(field, options, value, onChange, empty) {
  const text = value === undefined || value === null ? "" : String(value);
  const isKnown = !text || options.some((one) => String(one.value) === text);
  const all = isKnown ? options : [...options, { value: text, label: `${text} (not listed)` }];
  const select = h(
    "select",
    { id: idOf(field), on: { change: () => onChange(all.find((one) => String(one.value) === select.value)?.value) } },
    empty !== undefined && h("option", { value: "" }, empty),
    all.map((one) => h("option", { value: one.value }, one.label)),
  );
  select.value = text;
  return select;
}

/** A text input; `read` makes of its text what goes into the request. */
export function inputOf(field, draft, { read = (text) => text, list } = {}) {
  const value = draft.at(field.path);
  const input = h("input", {
    id: idOf(field),
    type: "text",
    list,
    value: value === undefined || value === null ? "" : String(value),
    placeholder: placeholderOf(field),
    inputmode: NUMBERS.has(field.type) ? "decimal" : null,
    autocomplete: "off",
    spellcheck: "false",
    on: { input: () => draft.set(field, input.value.trim() ? read(input.value.trim()) : undefined) },
  });
  return input;
}

function describedBy(control, field, hasHint) {
  const parts = [hasHint && `${control.id}-hint`, `${control.id}-error`].filter(Boolean);
  control.setAttribute("aria-describedby", parts.join(" "));
  if (field.isRequired) control.setAttribute("aria-required", "true");
}

function textRow(field, draft) {
  const suggest = SUGGESTED[field.pointer];
  const list = suggest ? `${idOf(field)}-list` : null;
  const read = NUMBERS.has(field.type) ? readNumber : undefined;
  const input = inputOf(field, draft, { read, list });
  return rowOf(field, input, { extra: [suggest && suggestions(list, suggest), nullSwitch(field, draft, input)] });
}

/** What is no number goes out as it was typed: the service says what is wrong with it. */
function readNumber(text) {
  const value = Number(text);
  return Number.isFinite(value) ? value : text;
}

function suggestions(id, list) {
  const element = h("datalist", { id });
  list().then((found) => found && replace(element, found.map((one) => h("option", { value: one.value }, one.label))));
  return element;
}

/** Where null is not the default, it is a choice of its own: "never". */
function nullSwitch(field, draft, input) {
  if (!field.isNullable || field.default === null || field.default === undefined) return null;
  const id = `${input.id}-null`;
  const box = h("input", { type: "checkbox", id, checked: draft.at(field.path) === null });
  box.addEventListener("change", () => {
    input.disabled = box.checked;
    if (box.checked) input.value = "";
    draft.set(field, box.checked ? null : undefined);
  });
  input.disabled = box.checked;
  return h("span", { class: "null-switch" }, box, h("label", { for: id }, wordForNull(field)));
}

function switchRow(field, draft) {
  const box = h("input", {
    type: "checkbox",
    id: idOf(field),
    checked: draft.at(field.path) ?? field.default ?? false,
    on: { change: () => draft.set(field, box.checked) },
  });
  return rowOf(field, box);
}

function choiceRow(field, draft) {
  const others = field.schema.enum.filter((one) => one !== field.default);
  const options = others.map((one) => ({ value: one, label: one }));
  const empty = field.default === undefined ? "" : `${field.default} (default)`;
  const value = draft.at(field.path);
  const shown = value === field.default ? undefined : value;
  return rowOf(field, selectOf(field, options, shown, (chosen) => draft.set(field, chosen), empty));
}

function timeRow(field, draft) {
  const value = draft.at(field.path);
  const input = h("input", {
    type: "datetime-local",
    id: idOf(field),
    value: value ? localTime(value) : "",
    on: { input: () => draft.set(field, input.value ? new Date(input.value).toISOString() : undefined) },
  });
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const word = wordForNull(field);
  return rowOf(field, input, { extra: h("p", { class: "hint" }, `In your time zone, ${zone}. Empty: ${word}.`) });
}

function localTime(iso) {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return "";
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
