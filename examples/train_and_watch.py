# ruff: noqa: INP001, T201 - a program, no package
"""Submits a training, tells its events as they happen, downloads the model: with heimdall_client alone.

python train_and_watch.py DATASET [EPOCHS]

The service is the one that HEIMDALL_URL and HEIMDALL_API_KEY name.
"""

import sys

from heimdall_client import HeimdallClient, HeimdallError

CURVE = "val_median_error_m"


def main(dataset: str, epochs: str = "5") -> None:
    """Trains the smallest network; the model ends up in the folder that the program is called in."""
    with HeimdallClient() as heimdall:
        network = {"name": "example", "backbone": "micro"}
        job = heimdall.jobs.train(dataset, model=network, training={"epochs": int(epochs)})
        print("submitted", job.id)
        for event in heimdall.jobs.watch(job):
            print(event.created_at, event.event)
        done = heimdall.jobs.wait(job)
        for point in heimdall.jobs.metrics(job, names=[CURVE]).metrics.get(CURVE, []):
            print(f"epoch {point.epoch}: median error {point.value:.0f} m")
        model = (done.result or {})["model"]
        print(heimdall.models.download(model["name"], model["version"]))


if __name__ == "__main__":
    if len(sys.argv) not in {2, 3}:
        sys.exit("usage: train_and_watch.py DATASET [EPOCHS]")
    try:
        main(*sys.argv[1:])
    except HeimdallError as error:
        sys.exit(f"error: {error}" + (f"\n       {error.hint}" if error.hint else ""))
