/** Labels that neither model nor similar sessions support. */

import { h, replace } from "../core/dom.js";
import { metres, number } from "../core/format.js";
import { rowHead, tableOf } from "./elements.js";
import { readSuspects } from "./evaluation.js";

const SHOWN = 20;
const EVIDENCE = { model: "the model", neighbours: "sessions of similar levels" };

/** Lists the suspected labels of a job, the least probable first; `onChoose(id)` shows one on the map. */
export async function mountSuspects(element, { jobId, suspects, onChoose }) {
  const rows = (await readSuspects(jobId).catch(() => null)) ?? suspects.session_ids.map((id) => ({ session_id: id }));
  const more = suspects.count - Math.min(rows.length, SHOWN);
  replace(
    element,
    h(
      "p",
      { class: "hint" },
      "Their stated position is improbable. A place that the model does not know looks the same as a wrong label: ",
      "look at the recordings before you reject one.",
    ),
    table(rows.slice(0, SHOWN), onChoose),
    more > 0 && h("p", { class: "hint" }, `${number(more)} more are in residuals.json.`),
  );
}

function table(rows, onChoose) {
  const head = ["Session", "Split", "Error", "From similar sessions", "Doubted by"];
  return tableOf("", head, rows.map((row) => suspectRow(row, onChoose)));
}

function suspectRow(row, onChoose) {
  const button = { type: "button", class: "button button-quiet button-small", on: { click: () => onChoose(row.session_id) } };
  return h(
    "tr",
    {},
    rowHead(h("a", { href: `/recordings/${row.session_id}`, class: "mono" }, row.session_id.slice(0, 8))),
    h("td", {}, row.split ?? "", row.trained_on && h("span", { class: "hint" }, " trained on")),
    h("td", {}, metres(row.error_m)),
    h("td", {}, metres(row.neighbours_m)),
    h(
      "td",
      {},
      (row.evidence ?? []).map((one) => EVIDENCE[one] ?? one).join(" and "),
      row.split === "test" && h("button", button, "On the map"),
    ),
  );
}
