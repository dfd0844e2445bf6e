/** The public API: requests with the session of the page, problems as exceptions, pages as an iterator. */

const UNSAFE_HEADER = "X-CSRF-Token";
const NOBODY = { name: null, owner: null, scopes: [], is_admin: false };

/** A problem document (RFC 9457) as an exception; `status` 0: the service cannot be reached. */
export class Problem extends Error {
  constructor(status, document = {}) {
    super(document.detail || document.title || "The service did not answer.");
    this.name = "Problem";
    this.status = status;
    this.code = document.code ?? "unreachable";
    this.title = document.title ?? "The service cannot be reached";
    this.detail = document.detail ?? "";
    this.hint = document.hint ?? "";
    this.errors = document.errors ?? [];
    this.requestId = document.request_id ?? null;
    this.document = document;
  }
}

/** Who is signed in: {name, owner, scopes, is_admin}. */
export const viewer = readViewer();

/** Whether the viewer has a scope, by itself or within another. */
export function may(scope) {
  const held = viewer.scopes;
  const within = scope === "jobs:read" && held.includes("jobs:read:all");
  return viewer.is_admin || held.includes("admin") || held.includes(scope) || within;
}

/** The JSON at a path; null where `etag` is still current. */
export async function get(path, { params, signal, etag } = {}) {
  const response = await request(path, { params, signal, headers: etag ? { "If-None-Match": etag } : {} });
  return response.status === 304 ? null : decoded(response);
}

/** The document at a path and its ETag; `document` is null where `etag` is still current. */
export async function getWithEtag(path, etag, { params, signal } = {}) {
  const response = await request(path, { params, signal, headers: etag ? { "If-None-Match": etag } : {} });
  const document = response.status === 304 ? null : await decoded(response);
  return { document, etag: response.headers.get("ETag") ?? etag ?? null };
}

/** Sends a JSON body; `idempotent` makes its repetition by the network harmless. */
export async function send(method, path, body, { headers = {}, idempotent = false, params, signal } = {}) {
  const all = { [UNSAFE_HEADER]: meta("csrf-token"), ...headers };
  if (body !== undefined && body !== null) all["Content-Type"] ??= "application/json";
  if (idempotent) all["Idempotency-Key"] ??= `"${randomId()}"`;
  const text = body === undefined || body === null ? undefined : JSON.stringify(body);
  return decoded(await request(path, { method, params, signal, headers: all, body: text }));
}

/** Every item of a collection, page after page. */
export async function* pages(path, params = {}, { signal } = {}) {
  let cursor = null;
  do {
    const page = await get(path, { params: { ...params, cursor }, signal });
    yield* page.data;
    cursor = page.next_cursor ?? null;
  } while (cursor);
}

/** A path with a query; lists repeat their name, and what is null or empty is left out. */
export function withQuery(path, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") query.append(name, one);
    }
  }
  const text = query.toString();
  return text ? `${path}${path.includes("?") ? "&" : "?"}${text}` : path;
}

/** The response as it came; a problem or an unreachable service is thrown. */
export async function request(path, { method = "GET", params, headers = {}, body, signal } = {}) {
  const response = await reached(withQuery(path, params), {
    method,
    body,
    signal,
    headers: { Accept: "application/json", ...headers },
    credentials: "same-origin",
    cache: "no-store",
  });
  if (response.status === 401) signInAgain();
  if (!response.ok && response.status !== 304) throw await problemOf(response);
  return response;
}

/** Leads to the sign-in page and back. */
export function signInAgain() {
  const here = location.pathname + location.search;
  location.assign(withQuery("/sign-in", { next: here }));
}

/** A random identifier, also where the page is not a secure context. */
export function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function reached(url, options) {
  try {
    return await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The service cannot be reached. It may be restarting." });
  }
}

async function problemOf(response) {
  const document = await response.json().catch(() => ({}));
  const title = document.title ?? `${response.status} ${response.statusText}`;
  return new Problem(response.status, { code: `http_${response.status}`, ...document, title });
}

async function decoded(response) {
  if (response.status === 204) return null;
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

function meta(name) {
  return document.querySelector(`meta[name="${name}"]`)?.content ?? "";
}

function readViewer() {
  const text = meta("viewer");
  return text ? { ...NOBODY, ...JSON.parse(text) } : NOBODY;
}
