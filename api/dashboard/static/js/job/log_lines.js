/** A log's text as lines: their time, level and words. */

const LEVELS = ["debug", "info", "warning", "error"];
const NAMES = { warn: "warning", critical: "error", fatal: "error", exception: "error" };
/** As structlog writes for people: time, level, event, members. */
const CONSOLE = /^(\d{4}-\d\d-\d\dT[\d:.]+Z?)\s+\[(\w+)\s*\]\s+(.*)$/;
const NAMED = /\b(DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)\b/;
const FAILURE = /^(Traceback \(most recent call last\)|\S*(Error|Exception|Interrupt)\b)/;
/** The same in every line of a job's log. */
const CONSTANT = /\s+(job_id|attempt|trace_id)=\S+/g;
const CONTINUED = /^(\s|$)/;

/** How grave a level is: higher is graver. */
export function rank(level) {
  return LEVELS.indexOf(level);
}

/** The lines of a text: {time, level, text}; what belongs to the line before has its level. */
export function linesOf(text, before = null) {
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  let last = before;
  return lines.map((line) => (last = lineOf(line.replace(/\r$/, ""), last)));
}

function lineOf(line, before) {
  const console = CONSOLE.exec(line);
  if (console) return { time: utc(console[1]), level: levelOf(console[2]), text: console[3].replace(CONSTANT, "").replace(/ {2,}/g, "  ") };
  if (line.startsWith("{")) return jsonLine(line) ?? plainLine(line, before);
  return plainLine(line, before);
}

function plainLine(line, before) {
  if (FAILURE.test(line)) return { time: null, level: "error", text: line };
  if (before && CONTINUED.test(line)) return { time: null, level: before.level, text: line };
  return { time: null, level: levelOf(NAMED.exec(line)?.[1] ?? "info"), text: line };
}

function jsonLine(line) {
  try {
    const { timestamp, level, event, job_id, attempt, trace_id, ...members } = JSON.parse(line);
    if (event === undefined) return null;
    const rest = Object.entries(members).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
    return { time: timestamp ?? null, level: levelOf(level ?? "info"), text: [event, ...rest].join("  ") };
  } catch {
    return null;
  }
}

function levelOf(name) {
  const lower = name.toLowerCase();
  const known = NAMES[lower] ?? lower;
  return LEVELS.includes(known) ? known : "info";
}

function utc(time) {
  return time.endsWith("Z") ? time : `${time}Z`;
}
