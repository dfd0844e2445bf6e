/** The filters of the list: the address holds them, the form shows them. */

import { $, $$, debounce } from "../core/dom.js";

const form = $("#filters");

/** What the address asks for: {status: [], kind, model, dataset, tag, mine}. */
export function readFilters() {
  const query = new URLSearchParams(location.search);
  const allowed = new Set($$("[name=status]", form).map((input) => input.value));
  return {
    status: query.getAll("status").filter((value) => allowed.has(value)),
    kind: query.get("kind") ?? "",
    model: query.get("model")?.trim() ?? "",
    dataset: query.get("dataset")?.trim() ?? "",
    tag: query.get("tag")?.trim() ?? "",
    mine: query.get("mine") === "1",
  };
}

/** Whether anything is filtered at all. */
export function isFiltered(filters) {
  const { status, ...others } = filters;
  return status.length > 0 || Object.values(others).some(Boolean);
}

/** As parameters of `/v1/jobs`. */
export function asParams({ mine, ...filters }, owner) {
  return { ...filters, created_by: mine ? owner : null };
}

/** Shows the filters of the address, and calls `onChange(filters)` whenever they change. */
export function watchFilters(onChange) {
  const changed = () => {
    showFilters();
    onChange(readFilters());
  };
  const fromForm = () => {
    const query = formQuery();
    if (query === location.search) return;
    history.pushState(null, "", `/${query}`);
    changed();
  };
  form.addEventListener("change", fromForm);
  form.addEventListener("input", debounce(fromForm, 350));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    fromForm();
  });
  $("#clear-filters").addEventListener("click", clearFilters);
  addEventListener("popstate", changed);
  showFilters();
}

/** Shows every job again. */
export function clearFilters() {
  history.pushState(null, "", "/");
  dispatchEvent(new PopStateEvent("popstate"));
  $("[name=model]", form).focus();
}

function formQuery() {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (value.trim()) query.append(name, value.trim());
  const text = query.toString();
  return text ? `?${text}` : "";
}

function showFilters() {
  const filters = readFilters();
  for (const input of $$("[name=status]", form)) input.checked = filters.status.includes(input.value);
  const mine = $("[name=mine]", form);
  if (mine) mine.checked = filters.mine;
  for (const name of ["kind", "model", "dataset", "tag"]) {
    const field = $(`[name=${name}]`, form);
    if (field !== document.activeElement || field.value.trim() !== filters[name]) field.value = filters[name];
  }
  $("#clear-filters").hidden = !isFiltered(filters);
}
