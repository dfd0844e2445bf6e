/** Lines of a log on the screen: only those in sight are elements, so that a hundred thousand scroll well. */

import { h, reconcile } from "../core/dom.js";
import { timeElement } from "../core/format.js";

const LINE_PX = 20;
const SPARE_LINES = 30;
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** A line as an element; what was searched for is marked. */
export function lineElement(line, wanted = "") {
  return h(
    "div",
    { class: `log-line log-${line.level}` },
    line.time && timeElement(line.time, CLOCK.format(new Date(line.time))),
    line.level !== "info" && line.time && h("span", { class: "log-level" }, line.level),
    h("span", { class: "log-text" }, marked(line.text, wanted)),
  );
}

function marked(text, wanted) {
  if (!wanted) return text || "\u00a0";
  const parts = [];
  const lower = text.toLowerCase();
  let from = 0;
  for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, from)) {
    parts.push(text.slice(from, at), h("mark", {}, text.slice(at, at + wanted.length)));
    from = at + wanted.length;
  }
  return [...parts, text.slice(from)];
}

/** A scrolling window over lines that follows the tail until somebody scrolls up. */
export class LogView {
  constructor({ onFollow, onTop }) {
    this.lines = [];
    this.wanted = "";
    this.isFollowing = true;
    this.onFollow = onFollow;
    this.onTop = onTop;
    this.rows = h("div", { class: "log-rows" });
    this.space = h("div", { class: "log-space" }, this.rows);
    this.element = h("div", { class: "log-lines log-window", tabindex: 0, role: "log", "aria-live": "off", "aria-label": "Log" }, this.space);
    this.element.addEventListener("scroll", () => this.scrolled());
    new ResizeObserver(() => this.paint()).observe(this.element);
  }

  /** Shows these lines; `added` lines before those shown so far keep them in their place. */
  show(lines, wanted, added = 0) {
    this.lines = lines;
    this.wanted = wanted;
    this.space.style.height = `${lines.length * LINE_PX}px`;
    if (this.isFollowing) this.element.scrollTop = this.element.scrollHeight;
    else if (added) this.element.scrollTop += added * LINE_PX;
    this.paint();
  }

  /** Goes to the end and stays there. */
  follow() {
    this.become(true);
    this.element.scrollTop = this.element.scrollHeight;
    this.paint();
  }

  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.element;
    this.become(scrollHeight - scrollTop - clientHeight < LINE_PX * 1.5);
    this.paint();
    if (scrollTop < LINE_PX * 5) this.onTop();
  }

  become(isFollowing) {
    if (this.isFollowing === isFollowing) return;
    this.isFollowing = isFollowing;
    this.onFollow(isFollowing);
  }

  paint() {
    const { scrollTop, clientHeight } = this.element;
    if (!clientHeight) return;
    const first = Math.max(0, Math.floor(scrollTop / LINE_PX) - SPARE_LINES);
    const last = Math.min(this.lines.length, Math.ceil((scrollTop + clientHeight) / LINE_PX) + SPARE_LINES);
    this.rows.style.transform = `translateY(${first * LINE_PX}px)`;
    const items = this.lines.slice(first, last);
    if (this.painted === this.wanted) reconcile(this.rows, items, { key: (line) => line, create: (line) => lineElement(line, this.wanted) });
    else this.repaint(items);
  }

  /** Another text is searched for: the marks are others. */
  repaint(items) {
    this.painted = this.wanted;
    reconcile(this.rows, [], { key: (line) => line, create: () => null });
    reconcile(this.rows, items, { key: (line) => line, create: (line) => lineElement(line, this.wanted) });
  }
}
