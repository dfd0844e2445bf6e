/** Buttons that copy a text. */

import { h } from "../core/dom.js";

const SHOWN_MS = 1_600;

/** A small button that copies `text`; `label` is what a screen reader says. */
export function copyButton(text, label, caption = "Copy") {
  const button = h("button", { type: "button", class: "button button-quiet button-small", "aria-label": label }, caption);
  copyOnClick(button, text);
  return button;
}

/** Makes a button copy a text, or what a function of no arguments gives, and say so. */
export function copyOnClick(button, text) {
  const caption = button.textContent;
  button.addEventListener("click", async () => {
    const isCopied = await copy(typeof text === "function" ? await text() : text);
    button.textContent = isCopied ? "Copied" : "Not copied";
    setTimeout(() => (button.textContent = caption), SHOWN_MS);
  });
}

/** Over plain http there is no clipboard but that of a selection. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelected(text);
  }
}

function copySelected(text) {
  const field = h("textarea", { class: "visually-hidden", readonly: true, "aria-hidden": "true", value: text });
  const focused = document.activeElement;
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return isCopied;
}
