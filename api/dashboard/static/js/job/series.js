/** A job's curves as numbers: read thinned, grown by what is new, smoothed. */

import { get } from "../core/api.js";

const MAX_POINTS = 1_000;
const MOST_POINTS = 3_000;
const OF_TEST = /^test_/;

/** The curves of a job by name, each sorted by step; `read` and `grow` say whether anything has changed. */
export class Series {
  constructor(path) {
    this.path = `${path}/metrics`;
    this.curves = new Map();
  }

  get isEmpty() {
    return this.curves.size === 0;
  }

  /** Reads all anew. */
  async read() {
    const { metrics } = await get(this.path, { params: { max_points: MAX_POINTS } });
    this.curves = new Map(Object.entries(metrics).filter(([name]) => !OF_TEST.test(name)));
  }

  /** Every point of every curve, as [name, points]. */
  async all() {
    const { metrics } = await get(this.path);
    return Object.entries(metrics);
  }

  /** Adds what has come since; the names of the curves that have grown. */
  async grow() {
    if (this.isEmpty || this.longest > MOST_POINTS) {
      await this.read();
      return new Set(this.curves.keys());
    }
    const { metrics } = await get(this.path, { params: { after_step: this.knownStep } });
    if (this.isOfNewAttempt(metrics)) {
      await this.read();
      return new Set(this.curves.keys());
    }
    const grown = new Set();
    for (const [name, points] of Object.entries(metrics)) {
      if (!OF_TEST.test(name) && this.append(name, points)) grown.add(name);
    }
    return grown;
  }

  /** The step up to which all is known: of the newest step itself a validation may be still to come. */
  get knownStep() {
    return Math.max(...[...this.curves.values()].map((points) => points.at(-1).step)) - 1;
  }

  get longest() {
    return Math.max(...[...this.curves.values()].map((points) => points.length));
  }

  /** A resumed attempt has reported steps again that were known: they are other points now. */
  isOfNewAttempt(metrics) {
    const newest = (curves) => Math.max(0, ...curves.map((points) => points.at(-1)?.attempt ?? 0));
    return newest(Object.values(metrics)) > newest([...this.curves.values()]);
  }

  append(name, points) {
    const known = this.curves.get(name) ?? [];
    const last = known.at(-1)?.step ?? -1;
    const fresh = points.filter((point) => point.step > last);
    if (!fresh.length) return false;
    this.curves.set(name, [...known, ...fresh]);
    return true;
  }

  /** The newest value of a curve that is a number; null: none. */
  newest(name) {
    return this.curves.get(name)?.findLast((point) => point.value !== null)?.value ?? null;
  }

  /** The point of a curve with the least value; undefined: none. */
  least(name) {
    const points = (this.curves.get(name) ?? []).filter((point) => point.value !== null);
    return points.reduce((least, point) => (least && least.value <= point.value ? least : point), undefined);
  }

  /** Where attempts after the first begin: [{attempt, step, epoch}]. */
  get resumptions() {
    const found = new Map();
    for (const points of this.curves.values()) {
      for (const { attempt, step, epoch } of points) {
        if (!(found.get(attempt)?.step <= step)) found.set(attempt, { attempt, step, epoch });
      }
    }
    const ordered = [...found.values()].sort((a, b) => a.attempt - b.attempt);
    return ordered.slice(1);
  }
}

/** Values averaged over those before, `weight` (0..1) telling how far back; the beginning is not drawn to zero. */
export function smoothed(values, weight) {
  let sum = 0;
  let total = 0;
  return values.map((value) => {
    if (value === null) return null;
    sum = sum * weight + value * (1 - weight);
    total = total * weight + (1 - weight);
    return sum / total;
  });
}

/** The curves as comma-separated values, one line per point. */
export function asCsv(curves) {
  const lines = ["name,step,epoch,attempt,value"];
  for (const [name, points] of curves) {
    for (const { step, epoch, attempt, value } of points) lines.push([name, step, epoch, attempt, value ?? ""].join(","));
  }
  return `${lines.join("\n")}\n`;
}
