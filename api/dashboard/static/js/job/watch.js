/** A job that is watched: its document, its history and what it reports, kept up to date by its stream. */

import { get, getWithEtag } from "../core/api.js";
import { follow } from "../core/events.js";
import { ACTIVE } from "../core/jobs.js";

const PROGRESS = "job.progress";
const ENDS = new Set(["job.succeeded", "job.failed", "job.cancelled"]);
const PAGE = 1000;
const QUEUE_MS = 5_000;
const TOGETHER_MS = 120;

/**
 * Watches a job until it has ended; `on("job" | "event" | "report" | "restart", act)` tells what came.
 *
 * "job": the document has changed. "event": the history has grown. "report": curves or the log may have grown.
 * "restart": they may have changed anywhere, after a lost connection or with another attempt.
 */
export class JobWatch extends EventTarget {
  constructor(jobId) {
    super();
    this.path = `/v1/jobs/${jobId}`;
    this.job = null;
    this.etag = null;
    this.events = [];
    this.reading = null;
    this.isStale = false;
  }

  on(name, act) {
    this.addEventListener(name, () => act(this));
    return this;
  }

  get isLive() {
    return ACTIVE.has(this.job.status);
  }

  /** Reads everything there is, then follows; a problem is the caller's. */
  async start() {
    await this.read();
    await this.readHistory();
    this.tell("event");
    if (this.isLive) this.follow();
  }

  /** Takes an answer of the service that holds the job. */
  take(job) {
    const before = this.job;
    this.job = job;
    this.tell("job");
    if (before && before.attempt !== job.attempt) this.tell("restart");
    if (job.status === "queued") this.askAgain();
  }

  /** Reads the job anew; calls that come meanwhile are answered by one more. */
  refresh() {
    if (this.reading) this.isStale = true;
    else this.reading = this.readCalmly().finally(() => this.goOn());
    return this.reading;
  }

  async readCalmly() {
    await new Promise((resolve) => setTimeout(resolve, TOGETHER_MS));
    this.isStale = false;
    await this.read().catch(() => {});
  }

  goOn() {
    this.reading = null;
    if (this.isStale) this.refresh();
  }

  async read() {
    const { document: job, etag } = await getWithEtag(this.path, this.etag);
    this.etag = etag;
    if (job) this.take(job);
  }

  async readHistory() {
    for (;;) {
      const after = this.events.at(-1)?.id ?? "0";
      const page = await get(`${this.path}/events`, { params: { after, limit: PAGE } });
      this.events.push(...page.data);
      if (page.data.length < PAGE) return;
    }
  }

  follow() {
    let wasLost = false;
    this.stream = follow(`${this.path}/events/stream?progress=true`, {
      after: this.events.at(-1)?.id ?? "0",
      onEvent: (event) => this.hear(event),
      onState: (state) => {
        if (state === "open" && wasLost) this.catchUp();
        wasLost = state === "lost";
      },
    });
  }

  async catchUp() {
    await this.refresh();
    this.tell("restart");
  }

  hear({ name, data }) {
    if (name === PROGRESS) return this.hearProgress(data);
    this.events.push(data);
    if (ENDS.has(name)) this.stream.close();
    this.tell("event");
    this.refresh().then(() => this.tell("report"));
  }

  hearProgress({ attempt, data }) {
    if (attempt !== this.job.attempt || this.job.status !== "running") return this.refresh();
    this.job = { ...this.job, ...data };
    this.tell("job");
    this.tell("report");
  }

  /** A place in the queue changes with what others do, of which this job's stream tells nothing. */
  askAgain() {
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      if (!document.hidden) await this.read().catch(() => {});
      if (this.job.status === "queued") this.askAgain();
    }, QUEUE_MS);
  }

  tell(name) {
    this.dispatchEvent(new Event(name));
  }
}
