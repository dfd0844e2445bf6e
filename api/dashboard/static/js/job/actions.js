/** What can be asked of the job now: offered where its status and the viewer's rights allow it. */

import { may, send } from "../core/api.js";
import { busy, confirmAction, h, reconcile, toast } from "../core/dom.js";
import { actionsFor } from "../core/jobs.js";

const ACTIONS = {
  finish: {
    label: "Finish",
    told: "The job will finish with its best epoch.",
    confirm: {
      title: "Finish this training now?",
      text: "It stops after the present batch. Its best epoch so far is evaluated, exported and registered as usual. The epochs left are not trained.",
      confirm: "Finish it",
    },
  },
  pause: { label: "Pause", told: "The job will pause at its next safe point." },
  resume: { label: "Resume", told: "The job is queued again.", isMain: true },
  cancel: {
    label: "Cancel",
    told: "The job is being cancelled.",
    isDanger: true,
    confirm: {
      title: "Cancel this job?",
      text: "It ends for good, and nothing of it is exported or registered. Its durable checkpoints stay: a retry can go on from them.",
      confirm: "Cancel the job",
      danger: true,
    },
  },
  retry: { label: "Retry", ask: howToRetry, act: retry },
};
const ORDER = ["resume", "finish", "pause", "retry", "clone", "cancel"];

/** Keeps the buttons as the job and the viewer allow. */
export function mountActions(element, watch) {
  const buttons = h("div", { class: "action-buttons" });
  element.append(buttons);
  watch.on("job", ({ job }) => {
    reconcile(buttons, offered(job), {
      key: (name) => name,
      create: (name) => (name === "clone" ? cloneLink(job) : actionButton(name, watch)),
    });
    element.hidden = !buttons.childElementCount;
  });
}

function offered(job) {
  const possible = [...actionsFor(job), ...(may("jobs:write") && job.kind !== "import" ? ["clone"] : [])];
  return ORDER.filter((name) => possible.includes(name));
}

function cloneLink(job) {
  const title = "Opens the form for a new job, filled with this one's specification";
  return h("a", { class: "button button-quiet", href: `/jobs/new?clone=${job.id}`, title }, "Clone");
}

function actionButton(name, watch) {
  const action = ACTIONS[name];
  const kind = action.isDanger ? "button-danger" : action.isMain ? "button-primary" : "";
  const button = h("button", { type: "button", class: `button ${kind}`, dataset: { action: name } }, action.label);
  button.addEventListener("click", () => perform(name, button, watch));
  return button;
}

async function perform(name, button, watch) {
  const action = ACTIONS[name];
  if (action.confirm && !(await confirmAction(action.confirm))) return;
  const choice = await action.ask?.(watch);
  if (choice === null) return;
  try {
    await busy(button, (action.act ?? ask)(watch, name, choice));
    if (action.told) toast(action.told);
  } catch (problem) {
    toast([problem.detail || problem.title, problem.hint].filter(Boolean).join(" "), "bad");
    watch.refresh();
  }
}

async function ask(watch, name) {
  watch.take(await send("POST", `${watch.path}:${name}`));
}

async function retry(watch, _name, choice) {
  const job = await send("POST", `${watch.path}:retry`, choice, { idempotent: true });
  location.assign(`/jobs/${job.id}`);
}

/** A training that left a checkpoint can go on from it or begin anew; null: it shall stay as it is. */
async function howToRetry(watch) {
  const newest = watch.events.findLast((event) => event.event === "checkpoint.durable")?.data;
  if (!newest || watch.job.kind !== "train") return {};
  const box = h("input", { type: "checkbox", id: "from-checkpoint", checked: watch.job.status !== "succeeded" });
  const label = h("label", { for: "from-checkpoint", class: "choice" }, box, ` Go on from its newest checkpoint (epoch ${newest.epoch}, step ${newest.step})`);
  const isSure = await confirmAction({
    title: "Queue this job again?",
    text: ["A new job with the same specification and the same inputs is queued.", label],
    confirm: "Queue it",
  });
  return isSure ? { from_checkpoint: box.checked } : null;
}
