/** Fields that hold several values: objects, references, lists, words, and the choice of a source. */

import { h, replace } from "../core/dom.js";
import { referable } from "./choices.js";
import { idOf, inputOf, rowOf, selectOf, valueRow } from "./controls.js";
import { firstItems } from "./schema.js";
import { hintOf } from "./wording.js";

/** The rows of any field. */
export function rowsOf(field, draft) {
  if (field.reference === "ExportSource") return sourceRows(field, draft);
  if (field.type === "words") return wordsRow(field, draft);
  if (field.type === "array") return listRows(field, draft);
  if (field.type !== "object") return valueRow(field, draft);
  return field.isNullable ? optionalRows(field, draft) : objectRows(field, draft);
}

/** The rows of an object's members; those of a reference are chosen from what there is. */
export function objectRows(field, draft) {
  return field.reference in referable ? referenceRows(field, draft) : field.members.map((one) => rowsOf(one, draft));
}

/** A name and a version, each chosen from what the API lists; typed where it lists nothing. */
function referenceRows(field, draft) {
  const kinds = referable[field.reference];
  const name = nameOf(field);
  const place = h("div", { class: "form-pair" }, rowOf(name, h("select", { id: idOf(name), disabled: true })));
  kinds.names().then((names) => replace(place, ...pair(field, draft, names)));
  return place;
}

function pair(field, draft, names) {
  const versions = h("div", {});
  const showVersions = () => showVersionsOf(field, draft, versions);
  showVersions();
  if (names !== null) return [rowOf(nameOf(field), nameSelect(field, draft, names, showVersions)), versions];
  const row = valueRow(nameOf(field), draft);
  row.addEventListener("change", showVersions);
  return [row, versions];
}

function nameSelect(field, draft, names, showVersions) {
  const choose = (value) => {
    draft.set(versionOf(field), undefined);
    draft.set(nameOf(field), value);
    showVersions();
  };
  const empty = names.length ? "choose one" : "there are none yet";
  return selectOf(nameOf(field), names, draft.at(nameOf(field).path), choose, empty);
}

async function showVersionsOf(field, draft, place) {
  const version = versionOf(field);
  const { versions, ofNone } = referable[field.reference];
  const name = draft.at(nameOf(field).path);
  const found = name ? await versions(name) : [];
  if (name !== draft.at(nameOf(field).path)) return;
  const set = (value) => draft.set(version, value);
  const control = found
    ? selectOf(version, found, draft.at(version.path), set, ofNone)
    : inputOf(version, draft, { read: Number });
  replace(place, rowOf({ ...version, description: "", schema: {} }, control));
}

function nameOf(field) {
  const name = field.members.find((member) => member.name === "name");
  return { ...name, title: field.title, description: "" };
}

function versionOf(field) {
  return field.members.find((member) => member.name === "version");
}

/** An object that may be left out: a switch, and its members while it is on. */
function optionalRows(field, draft) {
  const inner = h("div", { class: "form-inner" });
  const box = h("input", { type: "checkbox", id: idOf(field), checked: Boolean(draft.at(field.path)) });
  const show = () => replace(inner, box.checked ? objectRows(field, draft) : null);
  box.addEventListener("change", () => {
    draft.set(field, box.checked ? {} : undefined);
    show();
  });
  show();
  return [rowOf({ ...field, type: "boolean" }, box), inner];
}

/** Items of an array, each in a box of its own. */
function listRows(field, draft) {
  const place = h("div", { class: "form-list", dataset: { pointer: field.pointer } });
  showItems(field, draft, place);
  return place;
}

function showItems(field, draft, place, focus) {
  const items = itemsOf(field, draft);
  const change = (value, target) => {
    draft.set(field, value);
    showItems(field, draft, place, target);
  };
  const boxes = items.map((_, index) => itemBox(field, draft, { index, items, change }));
  const hint = h("p", { class: "hint" }, hintOf(field));
  const mayGrow = items.length < (field.schema.maxItems ?? Infinity);
  const add = mayGrow && addButton(field, () => change([...items, {}], items.length));
  const error = h("p", { class: "field-error", id: `${idOf(field)}-error`, hidden: true });
  replace(place, hint, boxes, add, error);
  if (focus !== undefined) place.querySelectorAll("fieldset")[focus]?.querySelector("select, input")?.focus();
}

function itemsOf(field, draft) {
  const value = draft.at(field.path) ?? firstItems(field);
  return Array.isArray(value) ? value : [];
}

function itemBox(field, draft, { index, items, change }) {
  const item = field.itemAt(index);
  const rest = items.filter((_, other) => other !== index);
  return h(
    "fieldset",
    { class: "form-item", dataset: { pointer: item.pointer } },
    h("legend", {}, `${singular(field.title)} ${index + 1}`),
    h("div", { class: "form-grid" }, item.members.map((member) => rowsOf(member, draft))),
    items.length > (field.schema.minItems ?? 0) && quietButton("Remove", () => change(rest, 0)),
    h("p", { class: "field-error", hidden: true }),
  );
}

function addButton(field, click) {
  return quietButton(`Add ${singular(field.title).toLowerCase()}`, click);
}

function quietButton(text, click) {
  return h("button", { type: "button", class: "button button-quiet", on: { click } }, text);
}

function singular(title) {
  return title.replace(/s$/, "");
}

/** Words with values: pairs that are added and removed. */
function wordsRow(field, draft) {
  const list = h("div", { class: "form-words" });
  const take = () => draft.set(field, wordsIn(list));
  const add = (key, value) => list.append(wordPair(field, take, key, value));
  Object.entries(draft.at(field.path) ?? {}).forEach(([key, value]) => add(key, value));
  const click = () => {
    add("", "");
    list.lastElementChild.querySelector("input").focus();
  };
  return h(
    "div",
    { class: "form-row", dataset: { pointer: field.pointer } },
    h("p", { class: "hint" }, hintOf(field)),
    list,
    addButton(field, click),
    h("p", { class: "field-error", id: `${idOf(field)}-error`, hidden: true }),
  );
}

function wordPair(field, take, key, value) {
  const remove = quietButton("Remove", () => {
    pair.remove();
    take();
  });
  const inputs = [wordInput(field, "name", key, take), wordInput(field, "value", value, take)];
  const pair = h("div", { class: "form-word" }, inputs, remove);
  return pair;
}

function wordInput(field, name, value, take) {
  const texts = { "aria-label": `${singular(field.title)} ${name}`, placeholder: name, value };
  return h("input", { type: "text", ...texts, autocomplete: "off", on: { input: take } });
}

function wordsIn(list) {
  const texts = (pair) => [...pair.querySelectorAll("input")].map((input) => input.value.trim());
  const pairs = [...list.children].map(texts);
  const given = pairs.filter(([key, value]) => key || value);
  return given.length ? Object.fromEntries(given) : undefined;
}

/** Exactly one of several members: which one, and then that one. */
function sourceRows(field, draft) {
  const inner = h("div", { class: "form-inner" });
  const options = field.members.map((one) => ({ value: one.name, label: one.description.replace(/[:,.].*$/s, "") }));
  const present = field.members.find((one) => draft.at(one.path)) ?? field.members.find((one) => one.type === "object");
  const show = (name) => {
    const member = field.members.find((one) => one.name === name);
    replace(inner, member.type === "object" ? objectRows(member, draft) : valueRow(member, draft));
  };
  const choose = (name) => {
    field.members.forEach((one) => one.name !== name && draft.set(one, undefined));
    show(name);
  };
  const which = { ...field, title: "Weights of", description: field.schema.description, isRequired: false };
  show(present.name);
  return [rowOf(which, selectOf(field, options, present.name, choose)), inner];
}
