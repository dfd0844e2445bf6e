/** The list by keyboard: arrows move, x ticks, / goes to the filters. */

import { $ } from "../core/dom.js";

/** Listens on the table and the page; `jobs()` gives what is loaded. */
export function watchKeys({ table, jobs, selection }) {
  const rows = $("#rows");
  rows.addEventListener("click", (event) => {
    const box = event.target.closest("input[type=checkbox]");
    if (box) selection.toggle(rowOf(box).dataset.id, box.checked, { through: event.shiftKey });
  });
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (event.key === "/") goToFilters(event);
    else if (event.key === "ArrowDown") move(event, 1);
    else if (event.key === "ArrowUp") move(event, -1);
    else if (event.key === "x") tick();
  });

  function move(event, by) {
    const row = rowOf(document.activeElement);
    const from = row ? jobs().findIndex((job) => job.id === row.dataset.id) : null;
    if (from === null && document.activeElement !== document.body) return;
    const to = from === null ? table.firstVisible() : from + by;
    const job = jobs()[to];
    if (!job) return;
    event.preventDefault();
    table.reveal(to);
    $(`tr[data-id="${job.id}"] a`, rows)?.focus({ preventScroll: true });
  }

  function tick() {
    const row = rowOf(document.activeElement);
    const box = row && $("input[type=checkbox]", row);
    if (box && !box.disabled) selection.toggle(row.dataset.id, !box.checked);
  }
}

function goToFilters(event) {
  event.preventDefault();
  $("#filters [name=model]").focus();
}

function rowOf(element) {
  return element?.closest?.("#rows tr[data-id]");
}

function isTyping(target) {
  return target.matches?.("input:not([type=checkbox]), textarea, select, dialog *");
}
