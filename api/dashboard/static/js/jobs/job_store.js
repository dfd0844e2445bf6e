/** The jobs that match the filters, newest first, as far as they are loaded; kept current by id. */

import { get } from "../core/api.js";

const PAGE = 200;
const BATCH = 100;

/** Jobs of one set of filters. `onChange({inserted})` follows every change; `inserted` holds ids. */
export class JobStore {
  constructor(params, { onChange }) {
    this.params = params;
    this.onChange = onChange;
    this.jobs = [];
    this.known = new Map();
    this.cursor = null;
    this.hasMore = true;
    this.loading = null;
    this.abort = new AbortController();
  }

  /** Loads the next page, once at a time. */
  loadMore(limit = PAGE) {
    if (!this.hasMore) return Promise.resolve();
    this.loading ??= this.loadPage(limit).finally(() => (this.loading = null));
    return this.loading;
  }

  /** Asks again for these jobs: those that match no longer go, those that do now come. */
  async refresh(ids) {
    const wanted = [...ids];
    for (let start = 0; start < wanted.length; start += BATCH) {
      await this.refreshBatch(wanted.slice(start, start + BATCH));
    }
  }

  /** Takes what was answered about a job, if it is listed; drawing is left to the caller. */
  put(job) {
    if (this.known.has(job.id)) this.set(trimmed(job));
  }

  close() {
    this.abort.abort();
  }

  async loadPage(limit) {
    const page = await this.ask({ cursor: this.cursor, limit });
    for (const job of page.data) this.upsert(trimmed(job));
    this.cursor = page.next_cursor;
    this.hasMore = page.has_more;
    this.onChange({ inserted: [] });
  }

  async refreshBatch(ids) {
    const page = await this.ask({ id: ids, limit: BATCH });
    const found = new Set(page.data.map((job) => job.id));
    const inserted = page.data.filter((job) => this.upsert(trimmed(job))).map((job) => job.id);
    const gone = ids.filter((id) => !found.has(id) && this.known.has(id));
    if (gone.length) this.drop(new Set(gone));
    this.onChange({ inserted });
  }

  ask(params) {
    return get("/v1/jobs", { params: { ...this.params, ...params, view: "brief" }, signal: this.abort.signal });
  }

  /** True when the job was not listed before. */
  upsert(job) {
    if (this.known.has(job.id)) {
      this.set(job);
      return false;
    }
    const index = this.placeOf(job);
    if (index === this.jobs.length && this.cursor !== null && this.hasMore && !this.loading) return false;
    this.jobs.splice(index, 0, job);
    this.known.set(job.id, job);
    return true;
  }

  set(job) {
    this.known.set(job.id, job);
    const index = this.placeOf(job);
    if (this.jobs[index]?.id === job.id) this.jobs[index] = job;
  }

  drop(ids) {
    for (const id of ids) this.known.delete(id);
    this.jobs = this.jobs.filter((job) => !ids.has(job.id));
  }

  /** The first index whose job is not newer. */
  placeOf(job) {
    let low = 0;
    let high = this.jobs.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isNewer(this.jobs[middle], job)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function isNewer(a, b) {
  return a.created_at === b.created_at ? a.id > b.id : a.created_at > b.created_at;
}

/** What the list shows of a job. */
function trimmed(job) {
  const { attempts, metrics, links, tags, trace_id, ...rest } = job;
  return rest;
}
