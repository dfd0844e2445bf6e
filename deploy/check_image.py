# ruff: noqa: INP001 - scripts of the images, no package
"""``python deploy/check_image.py api|worker requirements.lock``: whether an image holds what it must.

Run at the end of each Dockerfile, in the environment that it has made; needs no neighbour.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

#: What only trainers need; an api that carries one of these is several times as large.
HEAVY = (
    *("torch", "lightning", "mlflow", "onnx", "onnxruntime", "onnxscript"),
    *("transformers", "sklearn", "matplotlib", "torchmetrics"),
)
#: Settings of neighbours that do not exist: composing connects to none.
ENVIRONMENT = {
    "HEIMDALL_DATABASE__URL": "postgresql+psycopg://nobody:nothing@127.0.0.1:1/none",
    "HEIMDALL_REDIS__URL": "redis://127.0.0.1:1/0",
    "HEIMDALL_STORAGE__ACCESS_KEY_ID": "none",
    "HEIMDALL_STORAGE__SECRET_ACCESS_KEY": "none",
}
#: Each composes one process that the image runs.
COMPOSITIONS = {
    "api": ("import api.main; assert api.main.create().openapi()['paths']", "import heimdall_core.migrate"),
    "worker": ("import worker.celery_app", "from worker.trainers import PRELOAD as p; [*map(__import__, p)]"),
}
#: Not in the lock: what is ours, what `pip freeze` leaves out, what only torch's CUDA wheels bring.
UNLOCKED = ("heimdall-", "setuptools", "nvidia-", "triton", "cuda-")


def main() -> None:
    """Exits with every fault in one message."""
    kind, lock = sys.argv[1:]
    os.environ |= ENVIRONMENT
    faults = [*_package_faults(kind), *_version_faults(Path(lock)), *_composition_faults(kind)]
    if faults:
        sys.exit("\n".join(faults))
    sys.stdout.write(f"{kind}: {len(list(distributions()))} packages, as locked\n")


def _package_faults(kind: str) -> Iterator[str]:
    for name in HEAVY:
        if kind == "api" and find_spec(name):
            yield f"{name} is installed, and the api must do without"
        if kind == "worker" and not find_spec(name):
            yield f"{name} is not installed"


def _version_faults(lock: Path) -> Iterator[str]:
    locked = {_normal(line.split("==")[0]): line.split("==")[1] for line in lock.read_text().split()}
    for distribution in distributions():
        name, version = _normal(distribution.metadata["Name"]), distribution.version.partition("+")[0]
        if not name.startswith(UNLOCKED) and locked.get(name) != version:
            yield f"{name} {version} is installed, and {lock.name} names {locked.get(name, 'no version')}"


def _normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _composition_faults(kind: str) -> Iterator[str]:
    for statement in COMPOSITIONS[kind]:
        done = subprocess.run(  # noqa: S603 - our own statements
            [sys.executable, "-c", statement], capture_output=True, text=True, check=False
        )
        if done.returncode:
            yield f"failed: {statement}\n{done.stderr}"


if __name__ == "__main__":
    main()
