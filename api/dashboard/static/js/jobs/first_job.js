/** What to do where there is no job yet. */

import { $, h } from "../core/dom.js";

const EXAMPLE = {
  kind: "train",
  dataset: { name: "northwest" },
  model: { name: "localization" },
  training: { epochs: 30 },
};

/** The ways to queue the first one, with the address of this service filled in. */
export function firstJob() {
  const content = $("#first-job").content.cloneNode(true);
  const example = $("[data-curl]", content);
  if (example) example.textContent = curlOf(EXAMPLE);
  return h("div", { class: "empty" }, content);
}

function curlOf(spec) {
  return [
    `curl -s ${location.origin}/v1/jobs \\`,
    '  -H "Authorization: Bearer $HEIMDALL_API_KEY" \\',
    `  --json '${JSON.stringify(spec)}'`,
  ].join("\n");
}
