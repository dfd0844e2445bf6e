/** The jobs that are ticked, and cancelling them together. */

import { send } from "../core/api.js";
import { $, busy, confirmAction, setText, toast } from "../core/dom.js";
import { actionsFor } from "../core/jobs.js";

const AT_A_TIME = 6;
const TOO_MANY = 429;
const QUOTA_MS = 5_000;

/** Ticks of the list. `jobs()` gives what is loaded, `onChange()` redraws, `onCancelled(job)` takes answers. */
export class Selection {
  constructor({ jobs, onChange, onCancelled }) {
    this.ids = new Set();
    this.anchor = null;
    this.source = { jobs, onChange, onCancelled };
    this.all = $("#select-all");
    this.all?.addEventListener("change", () => this.setAll(this.all.checked));
    $("#clear-selection").addEventListener("click", () => this.setAll(false));
    $("#cancel-selected").addEventListener("click", () => this.cancel());
  }

  has(id) {
    return this.ids.has(id);
  }

  /** Ticks or unticks one, with `through` all between it and the one before. */
  toggle(id, wanted, { through = false } = {}) {
    const ids = through ? this.between(this.anchor, id) : [id];
    for (const one of ids) wanted ? this.ids.add(one) : this.ids.delete(one);
    this.anchor = id;
    this.changed();
  }

  setAll(wanted) {
    this.ids = new Set(wanted ? this.possible().map((job) => job.id) : []);
    this.changed();
  }

  /** Forgets those that cannot be cancelled any more. */
  prune() {
    if (!this.ids.size) return;
    const possible = new Set(this.possible().map((job) => job.id));
    const before = this.ids.size;
    for (const id of this.ids) if (!possible.has(id)) this.ids.delete(id);
    if (this.ids.size !== before) this.show();
  }

  changed() {
    this.show();
    this.source.onChange();
  }

  show() {
    const count = this.ids.size;
    $("#selection").hidden = count === 0;
    setText($("#selected-count"), count ? `${count} selected` : "");
    setText($("#cancel-selected"), count === 1 ? "Cancel 1 job" : `Cancel ${count} jobs`);
    if (!this.all) return;
    this.all.checked = count > 0 && count === this.possible().length;
    this.all.indeterminate = count > 0 && !this.all.checked;
  }

  async cancel() {
    const chosen = this.source.jobs().filter((job) => this.ids.has(job.id));
    if (!chosen.length || !(await confirmAction(question(chosen)))) return;
    await busy($("#cancel-selected"), this.cancelAll(chosen));
    this.prune();
    this.changed();
  }

  async cancelAll(chosen) {
    const queue = [...chosen];
    const refused = [];
    const work = async () => {
      for (let job = queue.shift(); job; job = queue.shift()) {
        const problem = await this.cancelOne(job).catch((refusal) => refusal);
        if (problem?.status === TOO_MANY) queue.push(await later(job));
        else if (problem) refused.push(problem);
      }
    };
    await Promise.all(Array.from({ length: AT_A_TIME }, work));
    tell(chosen.length, refused);
  }

  async cancelOne(job) {
    this.source.onCancelled(await send("POST", `/v1/jobs/${job.id}:cancel`));
    this.ids.delete(job.id);
    this.show();
  }

  possible() {
    return this.source.jobs().filter((job) => actionsFor(job).includes("cancel"));
  }

  between(from, to) {
    const ids = this.possible().map((job) => job.id);
    const [a, b] = [ids.indexOf(from), ids.indexOf(to)].sort((x, y) => x - y);
    return a < 0 ? [to] : ids.slice(a, b + 1);
  }
}

/** After a while, in which the quota of requests grows again. */
function later(job) {
  return new Promise((resolve) => setTimeout(() => resolve(job), QUOTA_MS));
}

function question(chosen) {
  const running = chosen.filter((job) => job.status === "running").length;
  const what = chosen.length === 1 ? "this job" : `${chosen.length} jobs`;
  const waiting = chosen.length === 1 ? "It has not started" : "None of them has started";
  const text = running ? lossOf(running, chosen.length) : `${waiting}. What is cancelled can be retried.`;
  return { title: `Cancel ${what}?`, text, confirm: `Cancel ${what}`, danger: true };
}

function lossOf(running, count) {
  const who = count === 1 ? "It is running" : `${running} of them ${running === 1 ? "is" : "are"} running`;
  return `${who} and will stop without a model. The page of a training offers to finish it early, with its best epoch.`;
}

function tell(count, refused) {
  const done = count - refused.length;
  if (done) toast(`${done} ${done === 1 ? "job is" : "jobs are"} cancelled or asked to stop.`);
  if (refused.length) toast(`${refused.length} could not be cancelled: ${refused[0].message}`, "bad");
}
