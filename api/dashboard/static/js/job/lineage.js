/** What the job comes from and what came of it, as links. */

import { get } from "../core/api.js";
import { h, replace, showEmpty, showProblem } from "../core/dom.js";
import { shortId, timeElement } from "../core/format.js";
import { modelPath } from "./links.js";

const FROM = {
  parent: "is a retry or a retraining of",
  weights: "exports the weights of",
  init_from: "started from the weights of",
  exported: "exports",
  evaluated: "evaluates",
  dataset: "read",
  registered: "was made by",
};
const TO = {
  parent: "was tried again as",
  weights: "was exported by",
  init_from: "was the start of",
  exported: "was exported by",
  evaluated: "was evaluated by",
  dataset: "was read by",
  registered: "made",
};

/** Reads and shows the lineage; again when the job has ended. */
export function mountLineage(panel, watch) {
  const section = h("section", { class: "panel" });
  panel.append(section);
  const read = async () => {
    try {
      showLineage(section, await get(`${watch.path}/lineage`));
    } catch (problem) {
      showProblem(section, problem, read);
    }
  };
  let wasLive = watch.isLive;
  watch.on("job", () => {
    if (wasLive && !watch.isLive) read();
    wasLive = watch.isLive;
  });
  read();
}

function showLineage(section, lineage) {
  const body = h("div", { class: "lineage" });
  replace(section, h("h2", {}, "Lineage"), body);
  if (!lineage.edges.length) return showEmpty(body, "This job comes from nothing that is recorded, and nothing came of it.");
  const nodes = new Map(lineage.nodes.map((node) => [node.id, node]));
  replace(
    body,
    side("Comes from", walk(lineage, "target", "source"), nodes, FROM),
    side("Led to", walk(lineage, "source", "target"), nodes, TO),
    lineage.is_truncated && h("p", { class: "hint" }, "There is more than is shown."),
  );
  return body;
}

/** Edges from the job outwards in one direction, nearest first: [{depth, relation, near, far}]. */
function walk({ of, edges }, near, far) {
  const found = [];
  const seen = new Set([of]);
  const visit = (id, depth) => {
    for (const edge of edges.filter((one) => one[near] === id)) {
      found.push({ depth, relation: edge.relation, far: edge[far] });
      if (seen.has(edge[far])) continue;
      seen.add(edge[far]);
      visit(edge[far], depth + 1);
    }
  };
  visit(of, 0);
  return found;
}

function side(title, steps, nodes, relations) {
  const items = steps.map(({ depth, relation, far }) =>
    h("li", { dataset: { depth: Math.min(depth, 5) } }, h("span", { class: "hint" }, relations[relation] ?? relation), " ", nodeLink(nodes.get(far) ?? { id: far, type: far.split(":")[0] })),
  );
  return h("div", {}, h("h3", {}, title), items.length ? h("ul", { class: "lineage-list" }, items) : h("p", { class: "hint" }, "Nothing"));
}

function nodeLink(node) {
  const name = node.id.slice(node.id.indexOf(":") + 1);
  const place = placeOf(node, name);
  const text = textOf(node, name);
  const status = node.status && h("span", { class: `badge badge-${node.status}` }, node.status);
  return h("span", {}, place && node.link !== null ? h("a", { href: place }, text) : text, " ", status, node.created_at && [" ", timeElement(node.created_at)]);
}

function placeOf({ type }, name) {
  const [first, version] = split(name);
  if (type === "job") return `/jobs/${encodeURIComponent(name)}`;
  if (type === "model_version") return modelPath({ name: first, version });
  return `/datasets/${encodeURIComponent(first)}/versions/${version}`;
}

function textOf({ type, kind, link }, name) {
  const [first, version] = split(name);
  if (type === "job") return `${kind ?? ""} job ${shortId(name)}${link === null ? " of somebody else" : ""}`.trim();
  return `${type === "model_version" ? "model" : "dataset"} ${first} v${version}`;
}

function split(name) {
  const at = name.lastIndexOf("/");
  return [name.slice(0, at), name.slice(at + 1)];
}
