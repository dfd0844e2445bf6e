/** What the form begins with: another job's specification, or what the address says. */

import { get } from "../core/api.js";
import { differences, fieldsOf, kindsOf } from "./schema.js";

/** The request to begin with, by the query of the page: `clone`, or `kind` and fields as `dataset.name=...`. */
export async function firstRequest(root, query) {
  const clone = query.get("clone");
  if (clone) return clonedRequest(root, await get(`/v1/jobs/${encodeURIComponent(clone)}`));
  const kind = kindsOf(root).includes(query.get("kind")) ? query.get("kind") : "train";
  const fields = fieldsOf(root, kind);
  const given = [...query].filter(([name]) => name !== "kind");
  return given.reduce((request, [name, text]) => placed(request, fields, name.split("."), text), { kind });
}

/** A job's specification without what equals the defaults. */
export function clonedRequest(root, job) {
  const rest = fieldsOf(root, job.kind).map((field) => [field.name, differences(field, job.spec[field.name])]);
  return { kind: job.kind, ...Object.fromEntries(rest.filter(([, value]) => value !== undefined && value !== null)) };
}

/** The request with one more value; what the schema does not know stays, so that the check names it. */
function placed(request, fields, [name, ...deeper], text) {
  const field = fields.find((one) => one.name === name);
  const value = deeper.length ? placed(request[name] ?? {}, field?.members ?? [], deeper, text) : typed(field, text);
  return { ...request, [name]: value };
}

function typed(field, text) {
  if (field?.type === "boolean") return text === "true";
  const isNumber = field?.type === "integer" || field?.type === "number";
  return isNumber && Number.isFinite(Number(text)) ? Number(text) : text;
}
