/** A table of thousands of rows of equal height, of which those near the view exist. */

import { $, reconcile, setAttribute } from "../core/dom.js";

const OVERSCAN = 12;
const AHEAD = 200;

/** Draws `items()` into the table's three bodies: what lies above, the rows, what lies below. */
export class WindowedTable {
  constructor(table, { items, key, create, update, onNearEnd }) {
    this.table = table;
    this.rows = $("#rows", table);
    this.spacers = [$("#above td", table), $("#below td", table)];
    this.source = { items, key, create, update, onNearEnd };
    this.rowHeight = 56;
    this.first = 0;
    this.last = 0;
    const draw = () => this.drawSoon();
    addEventListener("scroll", draw, { passive: true });
    addEventListener("resize", draw, { passive: true });
  }

  /** Draws before the next frame, once. */
  drawSoon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  draw() {
    const items = this.source.items();
    this.measure();
    this.place(items.length);
    const shown = items.slice(this.first, this.last).map((item, at) => ({ item, index: this.first + at }));
    reconcile(this.rows, shown, {
      key: ({ item }) => this.source.key(item),
      create: ({ item }) => this.source.create(item),
      update: (row, { item, index }) => this.updateRow(row, item, index),
    });
    this.pad(items.length);
    if (this.last > items.length - AHEAD) this.source.onNearEnd();
  }

  /** Keeps what is looked at where it is when rows come or go above it. */
  shiftBy(numRows) {
    if (numRows && this.top() < -this.rowHeight) scrollBy({ top: numRows * this.rowHeight, behavior: "instant" });
  }

  /** Index of the first row that is not scrolled away. */
  firstVisible() {
    return Math.max(0, Math.floor(-this.top() / this.rowHeight));
  }

  /** Brings a row into view and draws at once, so that it can be focused. */
  reveal(index) {
    const from = this.top() + index * this.rowHeight;
    const room = innerHeight - 2 * this.rowHeight;
    if (from < this.rowHeight) scrollBy({ top: from - 2 * this.rowHeight, behavior: "instant" });
    else if (from > room) scrollBy({ top: from - room, behavior: "instant" });
    this.draw();
  }

  measure() {
    const row = this.rows.firstElementChild;
    const height = row?.getBoundingClientRect().height;
    if (height) this.rowHeight = height;
  }

  top() {
    return this.spacers[0].getBoundingClientRect().top - $("#above", this.table).clientTop;
  }

  place(count) {
    const firstInView = Math.floor(-this.top() / this.rowHeight);
    const numInView = Math.ceil(innerHeight / this.rowHeight);
    this.first = Math.max(0, Math.min(firstInView - OVERSCAN, count - 1));
    this.last = Math.min(count, Math.max(this.first, firstInView + numInView + OVERSCAN));
  }

  pad(count) {
    const [above, below] = this.spacers;
    above.style.height = `${this.first * this.rowHeight}px`;
    below.style.height = `${Math.max(0, count - this.last) * this.rowHeight}px`;
    setAttribute(this.table, "aria-rowcount", count + 1);
  }

  updateRow(row, item, index) {
    setAttribute(row, "aria-rowindex", index + 2);
    this.source.update(row, item);
  }
}
