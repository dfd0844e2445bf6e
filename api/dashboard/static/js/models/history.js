/** What happened to a model, the newest first. */

import { get } from "../core/api.js";
import { h, reconcile } from "../core/dom.js";
import { shortId, timeElement } from "../core/format.js";
import { apiPath } from "./versions.js";
import { verdictTable, verdictText } from "./verdict.js";

const LIMIT = 1000;
const FIRST_SHOWN = 12;

/** Shows a model's history in a list; returns {load}, which fetches what is new. */
export function mountHistory(element, more, name) {
  const events = [];
  let after = 0;
  let shown = FIRST_SHOWN;
  const show = () => {
    reconcile(element, events.slice(0, shown), { key: (event) => event.id, create: item });
    more.replaceChildren(...moreButton(events.length - shown, showAll));
  };
  const showAll = () => {
    shown = Infinity;
    show();
  };
  const load = async () => {
    let page;
    do {
      page = await get(`${apiPath(name)}/events`, { params: { after, limit: LIMIT } });
      events.unshift(...page.data.filter((event) => event.id > after).reverse());
      after = page.next_after;
    } while (page.data.length === LIMIT);
    show();
  };
  return { load };
}

function moreButton(left, act) {
  if (left <= 0) return [];
  return [h("button", { type: "button", class: "button button-quiet button-small", on: { click: act } }, `Show ${left} earlier`)];
}

function item(event) {
  return h(
    "li",
    { class: `event ${event.event.replace(".", "-").replaceAll("_", "-")}` },
    h("span", { class: "event-time" }, timeElement(event.at)),
    h(
      "div",
      { class: "event-text" },
      h("p", {}, h("strong", {}, titleOf(event)), ` by ${event.actor}`, byJob(event), event.forced && forced()),
      event.reason && h("p", { class: "event-reason" }, event.reason),
      event.verdict && h("details", {}, h("summary", {}, `The gate: ${verdictText(event.verdict)}`), verdictTable(event.verdict)),
    ),
  );
}

function titleOf({ event, version, former_version: former }) {
  const instead = former && former !== version ? ` in place of version ${former}` : "";
  const titles = {
    "model.registered": `Version ${version} was registered`,
    "model.promoted": `Version ${version} became the champion${instead}`,
    "model.promotion_refused": `The gate kept version ${version} out`,
    "model.promotion_waits": `Version ${version} waits until the champion has been measured`,
    "model.rolled_back": `Back to version ${version}${instead}`,
  };
  return titles[event] ?? `${event}: version ${version}`;
}

function forced() {
  return h("span", { class: "badge badge-warn" }, "against the gate");
}

function byJob({ job_id: job }) {
  return job ? [", ", h("a", { href: `/jobs/${job}`, class: "mono" }, shortId(job))] : "";
}
