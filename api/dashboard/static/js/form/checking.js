/** Asks `POST /v1/jobs:validate` after a pause in the typing; the answer to the latest request wins. */

import { Problem, send } from "../core/api.js";

const PAUSE_MS = 350;

/** A checker: `soon(body)` asks after a pause, `now(body)` at once; `onResult(verdict, body)` and `onProblem`. */
export function checker({ onStart, onResult, onProblem }) {
  let timer = null;
  let abort = null;
  const now = async (body) => {
    clearTimeout(timer);
    abort?.abort();
    const mine = (abort = new AbortController());
    onStart();
    try {
      const verdict = await send("POST", "/v1/jobs:validate", body, { signal: mine.signal });
      if (!mine.signal.aborted) onResult(verdict, body);
      return verdict;
    } catch (problem) {
      if (!mine.signal.aborted) report(problem, onProblem);
      return null;
    }
  };
  const soon = (body) => {
    clearTimeout(timer);
    abort?.abort();
    timer = setTimeout(now, PAUSE_MS, body);
  };
  return { now, soon };
}

function report(problem, onProblem) {
  if (!(problem instanceof Problem)) throw problem;
  onProblem(problem);
}
