/** Copies text, also where the page is not a secure context. */

import { toast } from "../core/dom.js";

/** Copies the text of an element, and says so. */
export async function copyFrom(element) {
  const text = element.value ?? element.textContent;
  const isDone = (await byClipboard(text)) || bySelection(element);
  if (isDone) toast("Copied");
  else toast("The browser does not let this page copy: select the text and copy it", "warn");
}

async function byClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

function bySelection(element) {
  if (element.select) element.select();
  else getSelection().selectAllChildren(element);
  return document.execCommand("copy");
}
