/** Elements without innerHTML, keyed lists that change in place, and the few dialogs that every page has. */

const SVG = "http://www.w3.org/2000/svg";
const NOTHING = new Set([null, undefined, false, ""]);
const PROPERTIES = new Set(["value", "checked", "indeterminate", "selected", "open"]);

/** The first element that matches. */
export function $(selector, root = document) {
  return root.querySelector(selector);
}

/** Every element that matches, as an array. */
export function $$(selector, root = document) {
  return [...root.querySelectorAll(selector)];
}

/**
 * An element: `class`, `dataset`, `on: {click}`, `style: {width}` (by CSSOM), else attributes; text is escaped.
 *
 * An attribute that is true is set empty; false, null and undefined leave it out. Lists of children are flattened.
 */
export function h(tag, props = {}, ...children) {
  return furnish(document.createElement(tag), props ?? {}, children);
}

/** As `h`, for SVG. */
export function svg(tag, props = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), props ?? {}, children);
}

/** Puts these children in the place of all others. */
export function replace(parent, ...children) {
  parent.replaceChildren(...nodes(children));
  return parent;
}

/** Sets the text only where it differs, so that nothing is painted or announced anew. */
export function setText(element, text) {
  const wanted = text ?? "";
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** Sets or takes away an attribute only where it differs. */
export function setAttribute(element, name, value) {
  const wanted = value === true ? "" : value;
  if (wanted === null || wanted === undefined || wanted === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(wanted)) element.setAttribute(name, wanted);
}

const kept = new WeakMap();

/**
 * Makes the children of `parent` those of `items`, in their order, by `key(item)`.
 *
 * `create(item)` makes an element once; `update(element, item)` is called for new and old ones. Elements keep
 * their place, focus and state unless their item moved.
 */
export function reconcile(parent, items, { key, create, update = () => {} }) {
  const before = kept.get(parent) ?? new Map();
  const after = new Map();
  for (const item of items) after.set(key(item), before.get(key(item)) ?? null);
  for (const [name, element] of before) if (!after.has(name)) element.remove();
  let cursor = parent.firstElementChild;
  for (const item of items) {
    const element = after.get(key(item)) ?? create(item);
    after.set(key(item), element);
    update(element, item);
    if (element === cursor) cursor = cursor.nextElementSibling;
    else parent.insertBefore(element, cursor);
  }
  kept.set(parent, after);
}

/** A passing message; `kind`: "ok", "warn" or "bad". */
export function toast(text, kind = "ok") {
  const item = h("div", { class: `toast toast-${kind}`, role: kind === "bad" ? "alert" : "status" }, text);
  toasts().append(item);
  setTimeout(() => item.remove(), kind === "bad" ? 10_000 : 5_000);
}

/**
 * Asks before something is done: resolves to whether, or with `reason: true` to the typed text, or false.
 *
 * The focus goes back to where it was.
 */
export function confirmAction({ title, text = "", confirm = "Continue", danger = false, reason = false }) {
  const field = reason ? h("textarea", { id: "dialog-reason", rows: 3, maxlength: 1000 }) : null;
  const yes = h("button", { type: "submit", class: danger ? "button button-danger" : "button" }, confirm);
  const no = h("button", { type: "button", class: "button button-quiet" }, "Keep as it is");
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", { id: "dialog-title" }, title),
    [text].flat().map((part) => (part instanceof Node ? part : part && h("p", {}, part))),
    field && h("label", { for: "dialog-reason" }, "Reason"),
    field,
    h("div", { class: "dialog-actions" }, no, yes),
  );
  const dialog = h("dialog", { class: "dialog", "aria-labelledby": "dialog-title" }, form);
  return answered(dialog, { form, no, field });
}

/** Shows what went wrong, what to do about it, and a button that tries again. */
export function showProblem(element, problem, retry) {
  const press = { type: "button", class: "button button-quiet", on: { click: retry } };
  return replace(
    element,
    h(
      "div",
      { class: "notice notice-bad", role: "alert" },
      h("strong", {}, problem.title || "Something went wrong"),
      problem.detail && h("p", {}, problem.detail),
      problem.errors?.length > 0 && h("ul", {}, problem.errors.map(fieldProblem)),
      problem.hint && h("p", { class: "hint" }, problem.hint),
      problem.requestId && h("p", { class: "hint" }, "Request ", h("code", {}, problem.requestId)),
      retry && h("button", press, "Try again"),
    ),
  );
}

/** Says that there is nothing, and what to do; `action`: an element, or {href, label}. */
export function showEmpty(element, text, action) {
  const link = action?.href ? h("a", { class: "button", href: action.href }, action.label) : action;
  return replace(element, h("div", { class: "empty" }, [text].flat().map((part) => asParagraph(part)), link));
}

/** Keeps a button from being pressed twice while the promise is open; answers with the promise. */
export async function busy(button, promise) {
  const hadFocus = document.activeElement === button;
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    return await promise;
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
    if (hadFocus && document.activeElement === document.body) button.focus();
  }
}

/** Calls `act` after a pause in the calls, with the arguments of the last. */
export function debounce(act, ms) {
  let timer = null;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...args), ms);
  };
}

/** Calls `act` once, a while after the first of several calls: a steady stream of them cannot put it off. */
export function gathered(act, ms) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      act();
    }, ms);
  };
}

function furnish(element, props, children) {
  for (const [name, value] of Object.entries(props)) setProp(element, name, value);
  element.append(...nodes(children));
  return element;
}

function setProp(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name === "class") element.setAttribute("class", [value].flat().filter(Boolean).join(" "));
  else if (name === "dataset") Object.assign(element.dataset, value);
  else if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
  else if (name === "style") setStyle(element, value);
  else if (PROPERTIES.has(name) && name in element) element[name] = value;
  else element.setAttribute(name, value === true ? "" : value);
}

function setStyle(element, rules) {
  for (const [name, value] of Object.entries(rules)) {
    if (name.includes("-")) element.style.setProperty(name, value);
    else element.style[name] = value;
  }
}

function nodes(children) {
  const wanted = children.flat(Infinity).filter((child) => !NOTHING.has(child));
  return wanted.map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

function asParagraph(part) {
  return part instanceof Node ? part : h("p", {}, part);
}

function fieldProblem(error) {
  return h("li", {}, error.pointer && h("code", {}, error.pointer), error.pointer && " ", error.detail ?? "");
}

function answered(dialog, { form, no, field }) {
  return new Promise((resolve) => {
    let answer = false;
    no.addEventListener("click", () => dialog.close());
    form.addEventListener("submit", () => (answer = field ? field.value.trim() : true));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
    (field ?? no).focus();
  });
}

function toasts() {
  const found = $("#toasts");
  if (found) return found;
  const made = h("div", { id: "toasts" });
  document.body.append(made);
  return made;
}
