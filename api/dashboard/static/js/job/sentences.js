/** Events of a job in words; those that are not known are told by their members. */

import { duration, number, words } from "../core/format.js";

const SENTENCES = {
  "job.queued": () => "Queued",
  "job.started": ({ worker }) => `Taken by ${worker}`,
  "job.phase": ({ phase }) => `Now ${words(phase)}`,
  "job.requeued": ({ reason, error }) => `Given back to the queue${because(reason ?? error?.message)}`,
  "job.paused": () => "Checkpointed and paused",
  "job.resumed": () => "Resumed: waits for a worker",
  "job.changed": ({ priority, tags }) => [priority && `Priority ${priority}`, tags && "tags changed"].filter(Boolean).join(", "),
  "job.cancel_requested": () => "Asked to cancel",
  "job.pause_requested": () => "Asked to pause",
  "job.finish_requested": () => "Asked to finish early",
  "job.cancelled": () => "Cancelled",
  "job.failed": ({ error }) => `Failed: ${error?.message ?? "unknown"}`,
  "job.succeeded": ({ model }) => (model ? `Succeeded: registered as ${model.name} v${model.version}` : "Succeeded"),
  "trainer.stopped": ({ request }) => `Stopped on request: ${words(request)}`,
  "checkpoint.durable": ({ epoch, step }) => `A checkpoint of epoch ${epoch}, step ${number(step)} is durable`,
  device_chosen: ({ accelerator, devices, precision }) => `Runs on ${devices > 1 ? `${devices} devices` : "one device"} (${accelerator}), ${precision}`,
  features_ready: ({ num_segments, cached }) => `Features of ${number(num_segments)} segments are ready${cached ? ", from the cache" : ""}`,
  first_step: ({ seconds_since_start, seconds_since_submit }) =>
    `First training step, ${duration(seconds_since_start)} after the pipeline began${seconds_since_submit ? ` and ${duration(seconds_since_submit)} after it was submitted` : ""}`,
  training_finished: ({ epochs, steps, best_epoch }) => `Trained ${number(epochs)} epochs, ${number(steps)} steps; kept the weights of epoch ${best_epoch}`,
  finishing_early: ({ epoch }) => `Finishes early, in epoch ${epoch}`,
  resumed: ({ epoch, step }) => `Resumed from a checkpoint at epoch ${epoch}, step ${number(step)}`,
  labels_suspected: ({ count, file }) => `${number(count)} labels are improbable; ${file} names them`,
  recordings_read: ({ described, refused }) => `${number(described)} recordings described, ${number(refused)} refused`,
  import_resumed: ({ files_done }) => `Goes on after ${number(files_done)} files`,
  warm_started: ({ model, version }) => `Started from the weights of ${model} v${version}`,
  tracking_unavailable: ({ message }) => `MLflow does not answer: ${message}; the training goes on without it`,
};

/** What happened, in one line. */
export function sentenceOf({ event, data }) {
  return SENTENCES[event]?.(data) || members(data);
}

function because(reason) {
  return reason ? `: ${words(reason)}` : "";
}

function members(data) {
  return Object.entries(data)
    .map(([name, value]) => `${words(name)} ${typeof value === "object" ? JSON.stringify(value) : value}`)
    .join(", ");
}
