/** The JSON Schema of a request as fields: what a form needs to know of each. */

/** The fields of a kind of job, by the schema of `GET /v1/jobs:schema`; without `kind` itself. */
export function fieldsOf(root, kind) {
  const name = root.discriminator.mapping[kind].split("/").pop();
  return members(root, root.$defs[name], null).filter((field) => field.name !== "kind");
}

/** The kinds that can be asked for. */
export function kindsOf(root) {
  return root.oneOf.map((option) => root.$defs[option.$ref.split("/").pop()].properties.kind.const);
}

/** What the schema says of a kind, its first paragraph. */
export function aboutKind(root, kind) {
  const name = root.discriminator.mapping[kind].split("/").pop();
  return (root.$defs[name].description ?? "").split("\n\n")[0];
}

/** The value with the defaults of its fields filled in. */
export function filled(field, value) {
  if (value === undefined || value === null) return value === undefined ? defaultOf(field) : null;
  if (field.type === "object") return filledObject(field, value);
  if (field.type === "array" && Array.isArray(value)) return value.map((one, i) => filled(field.itemAt(i), one));
  return value;
}

/** What the service takes where nothing is given. */
export function defaultOf(field) {
  if (field.default !== undefined) return field.default;
  if (field.isNullable) return null;
  if (field.type === "words") return {};
  return field.type === "object" ? filledObject(field, {}) : undefined;
}

/** Whether the value says no more than leaving it out. */
export function isDefault(field, value) {
  return value === undefined || stable(filled(field, value)) === stable(filled(field, undefined));
}

/** What of a whole value differs from the defaults; undefined where nothing does. */
export function differences(field, value) {
  if (isDefault(field, value)) return undefined;
  if (field.type !== "object" || value === null) return value;
  const kept = {};
  for (const [name, one] of Object.entries(value)) {
    const member = field.members.find((candidate) => candidate.name === name);
    const rest = member ? differences(member, one) : one;
    if (rest !== undefined) kept[name] = rest;
  }
  return kept;
}

/** The items of an array as it begins: those of its default, each without what is its own default. */
export function firstItems(field) {
  return (field.default ?? []).map((item, index) => differences(field.itemAt(index), item) ?? {});
}

/** Words of a name: "init_from" is "Init from". */
export function titled(name) {
  const text = name.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function members(root, schema, parent) {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).map(([name, member]) =>
    fieldOf(root, member, { key: name, parent, isRequired: required.has(name) }),
  );
}

function fieldOf(root, given, { key, parent, isRequired }) {
  const { schema, reference, isNullable } = resolved(root, given);
  const path = [...(parent?.path ?? []), key];
  const field = {
    name: String(key),
    parent,
    path,
    pointer: pointerOf(path),
    reference,
    isNullable,
    isRequired,
    schema,
    title: given.title ?? titled(String(key)),
    description: given.description ?? schema.description ?? "",
    default: given.default,
    type: typeOf(schema),
    members: [],
  };
  if (field.type === "object") field.members = members(root, schema, field);
  if (field.type === "array") field.itemAt = (index) => itemOf(root, field, index);
  return field;
}

function itemOf(root, field, index) {
  return fieldOf(root, field.schema.items, { key: index, parent: field, isRequired: true });
}

function resolved(root, given) {
  const options = given.anyOf ?? [given];
  const [main] = options.filter((option) => option.type !== "null");
  const reference = main.$ref?.split("/").pop() ?? null;
  const schema = reference ? root.$defs[reference] : { ...given, ...main };
  return { schema, reference, isNullable: options.length > 1 && options.some((option) => option.type === "null") };
}

function typeOf(schema) {
  if (schema.enum) return "choice";
  if (schema.format === "date-time") return "time";
  if (schema.type === "object" && !schema.properties) return "words";
  return schema.type;
}

function filledObject(field, value) {
  const all = { ...value };
  for (const member of field.members) all[member.name] = filled(member, value[member.name]);
  return all;
}

function stable(value) {
  return JSON.stringify(value, (_, one) =>
    one && typeof one === "object" && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)))
      : one,
  );
}

/** A JSON pointer of a path. */
export function pointerOf(path) {
  return path.map((part) => `/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}
