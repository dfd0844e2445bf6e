/** A dialog that stays open until what it asks for is done, and tells within itself what went wrong. */

import { busy, h, showProblem } from "../core/dom.js";

/**
 * Opens a form: `body` between title and buttons, `act(fields)` when it is submitted.
 *
 * A problem that `act` throws is shown in the dialog; else it closes. Without `confirm` there is nothing to submit.
 */
export function openForm({ title, body, confirm, danger = false, act }) {
  const problem = h("div", { class: "dialog-problem" });
  const yes = confirm && h("button", { type: "submit", class: ["button", danger ? "button-danger" : "button-primary"] }, confirm);
  const close = { type: "button", class: "button button-quiet", on: { click: () => dialog.close() } };
  const no = h("button", close, confirm ? "Cancel" : "Close");
  const form = h("form", {}, h("h2", { id: "form-dialog-title" }, title), body, problem, h("div", { class: "dialog-actions" }, no, yes));
  const dialog = h("dialog", { class: "dialog models-dialog", "aria-labelledby": "form-dialog-title" }, form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit({ form, yes, dialog, problem, act });
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  (form.querySelector("input, textarea, select") ?? no).focus();
  return dialog;
}

async function submit({ form, yes, dialog, problem, act }) {
  problem.replaceChildren();
  try {
    await busy(yes, act(Object.fromEntries(new FormData(form))));
    dialog.close();
  } catch (error) {
    showProblem(problem, error);
  }
}
