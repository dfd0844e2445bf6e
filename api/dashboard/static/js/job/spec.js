/** The specification member by member: what differs from the defaults is marked. */

import { get } from "../core/api.js";
import { h, replace, showProblem } from "../core/dom.js";
import { number } from "../core/format.js";
import { copyButton } from "./copying.js";

const OWN = "job";

/** Shows the specification; it never changes but for the priority. */
export async function mountSpec(panel, watch) {
  const section = h("section", { class: "panel" }, h("p", { class: "skeleton" }, "Reads the specification"));
  panel.append(section);
  try {
    showSpec(section, watch.job, (await get(`${watch.path}/spec`)).members);
  } catch (problem) {
    showProblem(section, problem, () => replace(panel) && mountSpec(panel, watch));
  }
}

function showSpec(section, job, members) {
  const changed = members.filter(isChanged).length;
  const box = h("input", { type: "checkbox", id: "only-changed" });
  const explained = h("input", { type: "checkbox", id: "explained" });
  const table = h("table", { class: "table spec" });
  const isWanted = (member) => !box.checked || isChosen(member);
  const show = () => replace(table, head(), groups(members.filter(isWanted)).map(([name, group]) => groupBody(name, group, explained.checked)));
  for (const control of [box, explained]) control.addEventListener("change", show);
  show();
  replace(
    section,
    h(
      "div",
      { class: "panel-head" },
      h("h2", {}, "Specification"),
      h("p", { class: "hint" }, changed ? `${number(changed)} of ${number(members.length)} members differ from the defaults` : "Everything else is as by default"),
      h(
        "div",
        { class: "chart-controls spacer" },
        h("label", { for: "only-changed" }, box, "Only what was chosen"),
        h("label", { for: "explained" }, explained, "Explain"),
        copyButton(JSON.stringify(job.spec, null, 2), "Copy the specification as JSON", "Copy as JSON"),
      ),
    ),
    h("div", { class: "table-wrap", tabindex: 0, role: "group", "aria-label": "Specification" }, table),
  );
}

function head() {
  return h("thead", {}, h("tr", {}, ["Member", "Value", "Default"].map((text) => h("th", { scope: "col" }, text))));
}

function isChanged(member) {
  return !member.is_default && !member.is_required;
}

function isChosen(member) {
  return !member.is_default;
}

/** [["training", members], ...] in their order; members without a group come last, under "job". */
function groups(members) {
  const found = new Map();
  for (const member of members) {
    const parts = member.pointer.split("/").slice(1);
    const name = parts.length > 1 ? parts[0] : OWN;
    found.set(name, [...(found.get(name) ?? []), member]);
  }
  return [...found].sort(([a], [b]) => (a === OWN) - (b === OWN));
}

function groupBody(name, members, isExplained) {
  const title = h("tr", { class: "spec-group" }, h("th", { colspan: 3, scope: "colgroup" }, name));
  return h("tbody", {}, title, members.map((member) => memberRow(member, isExplained)));
}

function memberRow(member, isExplained) {
  const parts = member.pointer.split("/").slice(1);
  const name = (parts.length > 1 ? parts.slice(1) : parts).map(unescaped).join(".");
  const text = isExplained && member.description;
  const mark = isChanged(member) && h("span", { class: "badge badge-queued" }, "changed");
  return h(
    "tr",
    { class: isChanged(member) ? "spec-changed" : "" },
    h("th", { scope: "row" }, h("code", { title: member.description }, name), text && h("p", { class: "hint" }, withCode(text))),
    h("td", {}, h("span", { class: "spec-value" }, valueText(member.value)), " ", mark),
    h("td", { class: "spec-default" }, member.is_required ? "no default" : isChanged(member) ? valueText(member.default) : "same"),
  );
}

/** What stands between backticks is code. */
function withCode(text) {
  return text.split("`").map((part, place) => (place % 2 ? h("code", {}, part) : part));
}

function unescaped(part) {
  return part.replaceAll("~1", "/").replaceAll("~0", "~");
}

function valueText(value) {
  if (value === null) return "null";
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return value.map(itemText).join("; ") || "none";
  if (typeof value === "object") return Object.keys(value).length ? JSON.stringify(value) : "none";
  return String(value);
}

function itemText(item) {
  if (item === null || typeof item !== "object") return String(item);
  return Object.entries(item).map(([name, value]) => `${name} ${value}`).join(", ");
}
