/** The live log: by attempt, from a level up, searched; it follows its tail and can go back to its beginning. */

import { debounce, h, replace, setText, showProblem, toast } from "../core/dom.js";
import { number } from "../core/format.js";
import { rank } from "./log_lines.js";
import { LogStore } from "./log_store.js";
import { LogView } from "./log_view.js";
import { saveText } from "./saving.js";

const SEARCH_MS = 150;
const ALL_PIECES = 1_000;
const LEVELS = [
  ["debug", "All levels"],
  ["info", "Info and above"],
  ["warning", "Warnings and errors"],
  ["error", "Errors"],
];

/** Shows the log of the newest attempt, and lets it grow. */
export function mountLog(panel, watch) {
  new Log(panel, watch).start();
}

class Log {
  constructor(panel, watch) {
    this.watch = watch;
    this.panel = panel;
    this.attempt = null;
    this.unseen = 0;
    this.view = new LogView({ onFollow: (is) => this.followed(is), onTop: () => this.readOlder() });
    this.note = h("p", { class: "hint", role: "status" });
    this.older = button("Load all older lines", () => this.readAll());
    this.tail = button("Follow the tail", () => this.view.follow());
    this.problem = h("div", {});
    replace(panel, h("section", { class: "panel" }, this.head(), this.problem, this.view.element, h("div", { class: "log-foot" }, this.note, this.older, this.tail)));
    this.tail.hidden = true;
  }

  head() {
    this.level = h("select", { id: "log-level" }, LEVELS.map(([value, label]) => h("option", { value }, label)));
    this.search = h("input", { type: "search", id: "log-search", placeholder: "Search the log", autocomplete: "off", spellcheck: "false" });
    this.attempts = h("select", { id: "log-attempt" });
    this.level.addEventListener("change", () => this.show());
    this.search.addEventListener("input", debounce(() => this.show(), SEARCH_MS));
    this.attempts.addEventListener("change", () => this.choose(this.attempts.value));
    return h(
      "div",
      { class: "panel-head" },
      h("h2", {}, "Log"),
      h(
        "div",
        { class: "chart-controls spacer" },
        labelled("Attempt", this.attempts),
        labelled("Level", this.level),
        labelled("Search", this.search),
        button("Save as text", () => this.save()),
      ),
    );
  }

  start() {
    this.watch.on("job", () => this.offerAttempts());
    this.watch.on("report", () => this.isNewest && this.soon("readNewer"));
    this.watch.on("restart", () => this.isNewest && this.choose(null));
    this.panel.addEventListener("shown", () => this.show());
    this.offerAttempts();
    this.choose(null);
  }

  /** Whether the attempt that is shown is the one that may still write. */
  get isNewest() {
    return this.attempt === null || Number(this.attempt) === this.watch.job.attempt;
  }

  offerAttempts() {
    const { attempt: newest } = this.watch.job;
    if (this.attempts.childElementCount !== Math.max(newest, 1)) {
      replace(this.attempts, Array.from({ length: newest }, (_, place) => h("option", { value: newest - place }, newest - place)));
      if (this.attempt) this.attempts.value = this.attempt;
    }
    this.attempts.parentElement.hidden = newest < 2;
  }

  choose(attempt) {
    this.attempt = attempt;
    this.store = new LogStore(this.watch.path, attempt);
    this.soon("readEnd");
  }

  /** One request at a time; the end read anew goes before all else. */
  async soon(what) {
    this.wanted = this.wanted === "readEnd" ? "readEnd" : what;
    if (this.isBusy) return;
    this.isBusy = true;
    while (this.wanted) await this.next();
    this.isBusy = false;
  }

  async next() {
    const { wanted, store } = this;
    this.wanted = null;
    try {
      const added = await store[wanted]();
      this.problem.replaceChildren();
      if (store !== this.store) return;
      if (wanted === "readNewer") this.count(added);
      if (wanted !== "readNewer" || added) this.show(wanted === "readOlder" ? added : 0);
    } catch (problem) {
      if (!store.lines.length) showProblem(this.problem, problem, () => this.choose(this.attempt));
    }
  }

  readOlder() {
    if (this.store.hasOlder && !this.isBusy) this.soon("readOlder");
  }

  async readAll() {
    this.older.disabled = true;
    try {
      while (this.store.hasOlder) this.show(await this.store.readOlder(ALL_PIECES));
    } catch (problem) {
      toast(problem.detail || problem.message, "bad");
    }
    this.older.disabled = false;
    this.show();
  }

  count(added) {
    if (this.view.isFollowing) return;
    this.unseen += added;
    this.followed(false);
  }

  followed(is) {
    if (is) this.unseen = 0;
    this.tail.hidden = is;
    setText(this.tail, this.unseen ? `Follow the tail (${number(this.unseen)} new)` : "Follow the tail");
  }

  show(added = 0) {
    const least = rank(this.level.value);
    const wanted = this.search.value.trim().toLowerCase();
    const { lines, hasOlder } = this.store;
    const shown = lines.filter((line) => rank(line.level) >= least && (!wanted || line.text.toLowerCase().includes(wanted)));
    const isFiltered = shown.length < lines.length;
    this.view.show(shown, wanted, isFiltered ? 0 : added);
    this.older.hidden = !hasOlder;
    setText(this.note, this.describe(shown.length, lines.length, hasOlder));
  }

  describe(shown, known, hasOlder) {
    if (!known) return this.watch.job.attempt ? "This attempt has written nothing." : "Nothing is written before a worker takes the job.";
    const of = shown < known ? `${number(shown)} of ${number(known)} lines` : `${number(known)} lines`;
    return hasOlder ? `${of}; older ones are not loaded` : of;
  }

  async save() {
    try {
      saveText(await this.store.wholeText(), `${this.watch.job.id}-attempt-${this.store.attempt ?? 1}.log`);
    } catch (problem) {
      toast(problem.detail || problem.message, "bad");
    }
  }
}

function labelled(text, control) {
  return h("label", { for: control.id }, text, control);
}

function button(label, act) {
  return h("button", { type: "button", class: "button button-quiet button-small", on: { click: act } }, label);
}
