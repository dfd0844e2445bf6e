/** An attempt's log, read from its end: older pieces when asked for, newer ones as they come. */

import { get } from "../core/api.js";
import { linesOf } from "./log_lines.js";

const PIECES = 60;
const MORE_PIECES = 1_000;

/** The lines that are known of an attempt's log; `attempt` null: the newest. */
export class LogStore {
  constructor(path, attempt = null) {
    this.path = `${path}/logs`;
    this.attempt = attempt;
    this.lines = [];
    /** The unfinished last line, which more text may go on with. */
    this.open = "";
    this.nextAfter = 0;
    this.nextBefore = null;
  }

  /** Whether there is more before the first line. */
  get hasOlder() {
    return this.nextBefore !== null;
  }

  /** Reads the end of the log anew. */
  async readEnd() {
    const piece = await this.piece({ from_end: true, limit: PIECES });
    this.attempt = piece.attempt || this.attempt;
    this.lines = [];
    this.open = "";
    this.nextAfter = piece.next_after;
    this.nextBefore = piece.next_before;
    this.append(piece.content);
  }

  /** Reads what is new; how many lines that were. */
  async readNewer() {
    const before = this.lines.length;
    for (;;) {
      const piece = await this.piece({ after: this.nextAfter, limit: MORE_PIECES });
      this.nextAfter = piece.next_after;
      if (!piece.content) return this.lines.length - before;
      this.append(piece.content);
    }
  }

  /** Reads what lies before; how many lines that were. A line that was cut in two is one again. */
  async readOlder(limit = PIECES) {
    const piece = await this.piece({ before: this.nextBefore, from_end: true, limit });
    this.nextBefore = piece.next_before;
    const isWhole = piece.content.endsWith("\n");
    const [first, ...rest] = this.lines;
    const joined = isWhole || !first ? piece.content : piece.content + (first.raw ?? "");
    const older = withRaw(joined);
    this.lines = isWhole || !first ? [...older, ...this.lines] : [...older, ...rest];
    return older.length - (isWhole || !first ? 0 : 1);
  }

  /** The whole text, read piece by piece. */
  async wholeText() {
    const texts = [];
    for (let after = 0; ; ) {
      const piece = await this.piece({ after, limit: MORE_PIECES });
      if (!piece.content) return texts.join("");
      texts.push(piece.content);
      after = piece.next_after;
    }
  }

  append(content) {
    const text = this.open + content;
    if (this.open) this.lines.pop();
    const end = text.lastIndexOf("\n") + 1;
    this.open = text.slice(end);
    for (const line of withRaw(text, this.lines.at(-1))) this.lines.push(line);
  }

  piece(params) {
    return get(this.path, { params: { attempt: this.attempt, ...params } });
  }
}

/** The first line keeps its text as it came: it may be the end of one that an older piece begins. */
function withRaw(text, before = null) {
  const lines = linesOf(text, before);
  if (lines.length) lines[0].raw = text.slice(0, text.indexOf("\n") + 1 || text.length);
  return lines;
}
