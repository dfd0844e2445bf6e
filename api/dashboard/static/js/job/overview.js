/** The first part: newest figures, curves, phases, attempts. */

import { h } from "../core/dom.js";
import { mountAttempts } from "./attempts.js";
import { mountCurves } from "./curves.js";
import { mountTimeline } from "./timeline.js";

/** Curves where the job learns something, and for every job its phases and attempts. */
export function mountOverview(panel, watch) {
  const parts = watch.job.kind === "train" ? [mountCurves] : [];
  for (const mount of [...parts, mountTimeline, mountAttempts]) {
    const section = h("section", { class: "panel" });
    panel.append(section);
    mount(section, watch);
  }
}
