/** Server-sent events over fetch: any event name, statuses heeded, nothing lost across reconnections. */

import { Problem, get, request } from "./api.js";

const SILENCE_MS = 60_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 5_000;
const HIDDEN_MS = 20_000;

const states = new Map();

/**
 * Follows a stream of events until it is closed or has told everything.
 *
 * `after`: an event's id, or "now" (the default for `/v1/events/stream`); `onEvent({id, name, data})`;
 * `onState("open" | "lost")`. A page that is not looked at lets its connection go and catches up later.
 */
export function follow(path, { after, onEvent = () => {}, onState = () => {} } = {}) {
  const stream = new Stream(path, { after, onEvent, onState });
  stream.run();
  return { close: () => stream.close() };
}

/** The id after which everything that happens from now on comes. */
export async function eventPosition() {
  const page = await get("/v1/events", { params: { after: "now", limit: 1 } });
  return page.next_after;
}

class Stream {
  constructor(path, { after, onEvent, onState }) {
    this.path = path;
    this.last = after ?? (path.startsWith("/v1/events") ? "now" : null);
    this.onEvent = onEvent;
    this.onState = onState;
    this.closed = false;
    this.pauseMs = FIRST_PAUSE_MS;
    this.state = null;
  }

  close() {
    this.closed = true;
    this.abort?.abort();
    this.wake?.();
    tell(this, null);
  }

  async run() {
    while (!this.closed) {
      await this.shown();
      if (this.closed) return;
      const isOver = await this.connect().catch((error) => this.refused(error));
      if (isOver) return this.close();
      if (!document.hidden) await this.pause();
    }
  }

  /** True when there is nothing more to come. */
  async connect() {
    if (this.last === "now") this.last = await eventPosition();
    this.abort = new AbortController();
    const response = await request(this.path, {
      params: { after: this.last },
      headers: { Accept: "text/event-stream" },
      signal: this.abort.signal,
    });
    if (response.status === 204) return true;
    this.become("open");
    this.pauseMs = FIRST_PAUSE_MS;
    await this.read(response.body.getReader());
    this.become("lost");
    return false;
  }

  async read(reader) {
    const decoder = new TextDecoder();
    const letGo = lettingGo(() => this.abort.abort());
    let text = "";
    try {
      for (;;) {
        const { done, value } = await withinSilence(reader.read(), this.abort);
        if (done) return;
        const frames = (text + decoder.decode(value, { stream: true })).split("\n\n");
        text = frames.pop();
        for (const frame of frames) this.take(frame);
      }
    } finally {
      letGo();
    }
  }

  take(frame) {
    const event = parseFrame(frame);
    if (event === null || this.closed) return;
    if (event.id !== null) this.last = event.id;
    this.onEvent(event);
  }

  /** True when coming back would be refused as well. */
  refused(error) {
    if (this.closed) return true;
    const isFinal = error instanceof Problem && error.status >= 400 && error.status < 500 && error.status !== 429;
    if (!document.hidden) this.become("lost");
    if (!isFinal && !(error instanceof Problem) && error.name !== "AbortError") console.warn(error);
    return isFinal;
  }

  become(state) {
    if (this.closed || this.state === state) return;
    this.state = state;
    tell(this, state);
    this.onState(state);
  }

  async pause() {
    const ms = this.pauseMs * (0.75 + Math.random() / 2);
    this.pauseMs = Math.min(this.pauseMs * 2, LONGEST_PAUSE_MS);
    await this.until((wake) => {
      const timer = setTimeout(wake, ms);
      addEventListener("online", wake, { once: true });
      return () => {
        clearTimeout(timer);
        removeEventListener("online", wake);
      };
    });
  }

  async shown() {
    if (!document.hidden) return;
    await this.until((wake) => {
      document.addEventListener("visibilitychange", wake);
      return () => document.removeEventListener("visibilitychange", wake);
    });
  }

  async until(arrange) {
    let undo = () => {};
    await new Promise((resolve) => {
      this.wake = resolve;
      undo = arrange(resolve);
    });
    undo();
  }
}

function parseFrame(frame) {
  const event = { id: null, name: "message", data: null };
  const lines = [];
  for (const line of frame.split("\n")) {
    if (line.startsWith("id:")) event.id = line.slice(3).trim();
    else if (line.startsWith("event:")) event.name = line.slice(6).trim();
    else if (line.startsWith("data:")) lines.push(line.slice(5).trimStart());
  }
  if (!lines.length) return null;
  event.data = JSON.parse(lines.join("\n"));
  return event;
}

/** A connection that says nothing for a minute, not even that it is alive, is dead. */
async function withinSilence(promise, abort) {
  const timer = setTimeout(() => abort.abort(), SILENCE_MS);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

/** A browser opens few connections to one server: a hidden page gives its own back after a while. */
function lettingGo(letGo) {
  let timer = null;
  const watch = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(letGo, HIDDEN_MS);
  };
  document.addEventListener("visibilitychange", watch);
  return () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", watch);
  };
}

function tell(stream, state) {
  if (state === null) states.delete(stream);
  else states.set(stream, state);
  const all = [...states.values()];
  const detail = all.includes("lost") ? "lost" : all.length ? "open" : "none";
  document.dispatchEvent(new CustomEvent("heimdall:connection", { detail }));
}
