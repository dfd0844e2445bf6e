"""Where benchmarks keep what takes long: features and finished runs."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]
#: What a result depends on besides its plan.
_CODE = ("heimdall_core/networks", "heimdall_core/training", "heimdall_core/features")


def bench_folder() -> Path:
    """``HEIMDALL_BENCH_DIR``, else ``.heimdall-bench`` in the project; it may be deleted at any time."""
    folder = Path(os.environ.get("HEIMDALL_BENCH_DIR") or _ROOT / ".heimdall-bench")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def key_of(content: Mapping[str, Any]) -> str:
    """The same for equal content."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_digest(*folders: str) -> str:
    """Of the sources that a run executes: a changed network is trained anew."""
    digest = hashlib.sha256()
    for folder in folders or _CODE:
        for path in sorted((_ROOT / folder).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, indent=2) + "\n")
    part.replace(path)
