/** Texts that the page has made, saved as files. */

import { h } from "../core/dom.js";

/** Hands the browser a text as a file. */
export function saveText(text, name, type = "text/plain") {
  const url = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
