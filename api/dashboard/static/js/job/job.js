/** The page of a job: reads it, follows it, and hands what comes to its parts. */

import { $, $$, showProblem } from "../core/dom.js";
import { mountActions } from "./actions.js";
import { copyOnClick } from "./copying.js";
import { mountFailure } from "./failure.js";
import { mountHeader } from "./header.js";
import { mountParts } from "./parts.js";
import { JobWatch } from "./watch.js";

const root = $("#job");
const watch = new JobWatch(root.dataset.job);

async function start() {
  $("#notice").replaceChildren();
  try {
    await watch.start();
  } catch (problem) {
    showProblem($("#notice"), problem, () => location.reload());
  }
}

$$("[data-copy]").forEach((button) => copyOnClick(button, button.dataset.copy));
mountHeader(root, watch);
mountActions($("#actions"), watch);
mountFailure($("#failure"), watch);
mountParts($("#tabs"), $("#panels"), watch);
start();
