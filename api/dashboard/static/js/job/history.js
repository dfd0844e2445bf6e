/** The job's history as a table, the newest first. */

import { h, reconcile, replace, setText } from "../core/dom.js";
import { number, timeElement } from "../core/format.js";
import { columnHead } from "./columns.js";
import { saveText } from "./saving.js";
import { sentenceOf } from "./sentences.js";

const SHOWN = 200;

/** Keeps the table as the history grows. */
export function mountHistory(panel, watch) {
  let limit = SHOWN;
  const body = h("tbody", {});
  const heads = ["Time", "Event", "What", "Attempt", "Id"];
  const more = h("button", { type: "button", class: "button button-quiet button-small" }, "Show all");
  const note = h("p", { class: "hint" });
  const save = h("button", { type: "button", class: "button button-quiet button-small spacer" }, "Save as JSON");
  save.addEventListener("click", () => saveText(`${JSON.stringify(watch.events, null, 2)}\n`, `${watch.job.id}-events.json`, "application/json"));
  replace(
    panel,
    h(
      "section",
      { class: "panel" },
      h("div", { class: "panel-head" }, h("h2", {}, "Events"), save),
      h(
        "div",
        { class: "table-wrap", tabindex: 0, role: "group", "aria-label": "Events" },
        h("table", { class: "table" }, h("thead", {}, h("tr", {}, heads.map(columnHead))), body),
      ),
      note,
      more,
    ),
  );
  const show = () => {
    const newest = watch.events.slice(-limit).reverse();
    reconcile(body, newest, { key: (event) => event.id, create: makeRow });
    more.hidden = watch.events.length <= limit;
    setText(note, more.hidden ? "" : `The newest ${number(limit)} of ${number(watch.events.length)} events.`);
  };
  more.addEventListener("click", () => {
    limit = Infinity;
    show();
  });
  watch.on("event", show);
  show();
}

function makeRow(event) {
  return h(
    "tr",
    {},
    h("td", { class: "nowrap" }, timeElement(event.created_at)),
    h("th", { scope: "row", class: "mono" }, event.event),
    h("td", {}, sentenceOf(event)),
    h("td", { class: "numeric" }, event.attempt ?? ""),
    h("td", { class: "mono hint" }, event.id),
  );
}
