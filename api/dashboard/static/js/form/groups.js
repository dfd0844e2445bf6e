/** The order of the form: groups of fields, those that one usually sets first, the rest folded. */

import { $$, h } from "../core/dom.js";
import { rowsOf } from "./composites.js";

const GROUPS = [
  { title: "Weights", members: ["source"] },
  { title: "Dataset", members: ["dataset", "split"] },
  { title: "Model", members: ["model", "init_from"] },
  { title: "Training", members: ["training"] },
  { title: "Upload", members: ["upload_id"] },
  { title: "Export", members: ["export", "outputs"] },
  { title: "Registration", members: ["register"] },
  { title: "Resources and queue", members: ["resources", "priority", "not_before", "on_duplicate", "limits"] },
  { title: "Tags", members: ["tags"] },
];
const ESSENTIAL = new Set([
  "/source", "/dataset", "/split", "/model/name", "/model/version", "/model/backbone", "/training/epochs",
  "/training/batch_size", "/training/learning_rate", "/upload_id", "/outputs",
]);
/** Objects that have a row of their own kind. */
const WHOLE = new Set(["DatasetRef", "ModelRef", "ExportSource"]);

/** The groups of a form, as elements; a field that no group names has one of its own at the end. */
export function groupElements(fields, draft) {
  const named = new Set(GROUPS.flatMap((group) => group.members));
  const other = { title: "Other", members: fields.map((field) => field.name).filter((name) => !named.has(name)) };
  return [...GROUPS, other].map((group) => groupElement(group, fields, draft)).filter(Boolean);
}

/** Says at each fold how many of its fields are set. */
export function countFolds(form, fields, draft) {
  for (const fold of $$("details[data-group]", form)) {
    const pointers = new Set($$("[data-pointer]", fold).map((row) => row.dataset.pointer));
    const isSet = (leaf) => pointers.has(leaf.pointer) && draft.at(leaf.path) !== undefined;
    const count = fields.flatMap(leaves).filter(isSet).length;
    fold.querySelector(".fold-count").textContent = count ? `${count} set` : "";
  }
}

function groupElement(group, fields, draft) {
  const parts = fields.filter((field) => group.members.includes(field.name)).flatMap(unpacked);
  if (!parts.length) return null;
  const [first, rest] = divided(parts);
  const inner = [
    first.length > 0 && h("div", { class: "form-grid" }, first.map((field) => rowsOf(field, draft))),
    rest.length > 0 && fold(group.title, first.length ? namesOf(rest) : group.title, rest, draft),
  ];
  const legend = h("legend", { class: first.length ? null : "visually-hidden" }, group.title);
  return h("fieldset", { class: "panel form-group" }, legend, inner);
}

/** An object of plain members is taken apart: its members are sorted into essential and folded. */
function unpacked(field) {
  const isWhole = field.isNullable || WHOLE.has(field.reference);
  return field.type === "object" && !isWhole ? field.members : [field];
}

function divided(parts) {
  const isEssential = (field) => ESSENTIAL.has(field.pointer) || (field.isRequired && !field.isNullable);
  return [parts.filter(isEssential), parts.filter((field) => !isEssential(field))];
}

function fold(group, title, fields, draft) {
  return h(
    "details",
    { dataset: { group } },
    h("summary", {}, title, " ", h("span", { class: "fold-count badge badge-queued" })),
    h("div", { class: "form-grid" }, fields.map((field) => rowsOf(field, draft))),
  );
}

function namesOf(fields) {
  const shown = fields.slice(0, 3).map((field, index) => (index ? field.title.toLowerCase() : field.title));
  return fields.length > 3 ? `${shown.join(", ")} and ${fields.length - 3} more` : shown.join(", ");
}

function leaves(field) {
  const isWhole = field.isNullable || field.type !== "object";
  return isWhole ? [field] : field.members.flatMap(leaves);
}
