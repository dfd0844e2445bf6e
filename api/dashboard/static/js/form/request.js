/** The request that is being written: one document, changed by the form and by its JSON alike. */

import { firstItems, isDefault } from "./schema.js";

/** A document that tells its listeners of each change, and who made it. */
export class RequestDraft {
  #listeners = [];

  constructor(value) {
    this.value = value;
  }

  /** Calls `listener(value, source)` after each change. */
  onChange(listener) {
    this.#listeners.push(listener);
  }

  /** What stands at a path; undefined: nothing, so the default holds. */
  at(path) {
    return path.reduce((found, part) => found?.[part], this.value);
  }

  /** Puts another document in the place of this one. */
  replace(value, source) {
    this.value = value;
    this.#tell(source);
  }

  /** Sets the value of a field, or with undefined leaves it out; what equals the default is left out too. */
  set(field, value, source = "form") {
    const kept = isDefault(field, value) && !field.isRequired ? undefined : value;
    this.value = changed(this.value, chainOf(field), 0, kept);
    this.#tell(source);
  }

  #tell(source) {
    for (const listener of this.#listeners) listener(this.value, source);
  }
}

function chainOf(field) {
  return field ? [...chainOf(field.parent), field] : [];
}

function changed(parent, chain, depth, value) {
  const field = chain[depth];
  const key = field.path.at(-1);
  const isLast = depth === chain.length - 1;
  const next = isLast ? value : pruned(field, changed(within(field, parent?.[key]), chain, depth + 1, value));
  return withMember(parent, key, next);
}

/** The container that a change goes into; an array that was left out begins as its default. */
function within(field, value) {
  if (field.type === "array") return value ?? firstItems(field);
  return value ?? {};
}

function pruned(field, value) {
  const mayGo = !field.isNullable && !field.isRequired;
  return mayGo && isDefault(field, value) ? undefined : value;
}

function withMember(parent, key, value) {
  if (Array.isArray(parent)) return parent.map((one, index) => (index === key ? (value ?? {}) : one));
  const { [key]: _, ...rest } = parent ?? {};
  return value === undefined ? rest : inOrder(parent ?? {}, key, { ...rest, [key]: value });
}

/** Members keep their place, so that the JSON does not jump while one types. */
function inOrder(before, key, after) {
  if (!(key in before)) return after;
  return Object.fromEntries(Object.keys(before).map((name) => [name, after[name]]));
}
