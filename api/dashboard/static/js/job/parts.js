/** The parts of the page as tabs; the address remembers which is open, and a part is made when it is first seen. */

import { h, reconcile, showProblem } from "../core/dom.js";
import { mountOverview } from "./overview.js";

const PARTS = [
  { name: "overview", label: "Overview", load: async () => mountOverview },
  { name: "result", label: "Result", load: async () => (await import("./outcome.js")).mountOutcome, isOffered: hasResult },
  { name: "log", label: "Log", load: async () => (await import("./log.js")).mountLog },
  { name: "events", label: "Events", load: async () => (await import("./history.js")).mountHistory },
  { name: "spec", label: "Specification", load: async () => (await import("./spec.js")).mountSpec },
  { name: "files", label: "Files", load: async () => (await import("./files.js")).mountFiles },
  { name: "lineage", label: "Lineage", load: async () => (await import("./lineage.js")).mountLineage },
];
const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

/** Keeps the tabs that the job has, and opens the one that the address names. */
export function mountParts(tabs, panels, watch) {
  const open = (name, { focus = false } = {}) => openPart(tabs, panels, watch, name, focus);
  tabs.addEventListener("keydown", (event) => moveFocus(event, tabs, open));
  addEventListener("hashchange", () => open(wantedPart()));
  watch.on("job", ({ job }) => {
    showTabs(tabs, job, open);
    if (!tabs.querySelector("[aria-selected=true]")) open(wantedPart());
  });
}

function hasResult(job) {
  return job.status === "succeeded";
}

function wantedPart() {
  return location.hash.slice(1);
}

function showTabs(tabs, job, open) {
  reconcile(tabs, PARTS.filter((part) => part.isOffered?.(job) ?? true), {
    key: (part) => part.name,
    create: (part) =>
      h(
        "button",
        {
          type: "button",
          role: "tab",
          id: `tab-${part.name}`,
          "aria-controls": `panel-${part.name}`,
          "aria-selected": "false",
          tabindex: -1,
          dataset: { part: part.name },
          on: { click: () => open(part.name) },
        },
        part.label,
      ),
  });
}

function openPart(tabs, panels, watch, name, focus) {
  const buttons = [...tabs.children];
  const chosen = buttons.find((button) => button.dataset.part === name) ?? buttons[0];
  for (const button of buttons) {
    button.setAttribute("aria-selected", String(button === chosen));
    button.tabIndex = button === chosen ? 0 : -1;
  }
  for (const panel of panels.children) panel.hidden = panel.dataset.part !== chosen.dataset.part;
  const panel = panels.querySelector(`[data-part=${chosen.dataset.part}]`) ?? makePanel(panels, watch, chosen);
  panel.dispatchEvent(new Event("shown"));
  if (focus) chosen.focus();
  remember(chosen.dataset.part);
}

/** The first part is the page itself; going through parts fills no history. */
function remember(name) {
  const hash = name === PARTS[0].name ? "" : `#${name}`;
  if (location.hash !== hash) history.replaceState(null, "", `${location.pathname}${location.search}${hash}`);
}

function makePanel(panels, watch, tab) {
  const name = tab.dataset.part;
  const panel = h("div", { role: "tabpanel", id: `panel-${name}`, "aria-labelledby": tab.id, class: "part", dataset: { part: name } });
  panels.append(panel);
  mountInto(panel, PARTS.find((part) => part.name === name), watch);
  return panel;
}

async function mountInto(panel, part, watch) {
  try {
    const mount = await part.load();
    panel.replaceChildren();
    mount(panel, watch);
  } catch (error) {
    const problem = { title: "This part of the page did not load", detail: error.message };
    showProblem(panel, problem, () => location.reload());
  }
}

function moveFocus(event, tabs, open) {
  const buttons = [...tabs.children];
  const place = buttons.indexOf(document.activeElement);
  if (place < 0) return;
  const targets = { Home: 0, End: buttons.length - 1 };
  const wanted = targets[event.key] ?? (event.key in STEPS ? (place + STEPS[event.key] + buttons.length) % buttons.length : null);
  if (wanted === null) return;
  event.preventDefault();
  open(buttons[wanted].dataset.part, { focus: true });
}
