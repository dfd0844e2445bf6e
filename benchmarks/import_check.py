"""Whether features rendered straight are those that an import gives: ``python -m benchmarks.import_check``.

Sessions of world A are packed as SigMF, imported and cached as a job does it, and compared.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rendering import manifest_receivers
from benchmarks.worlds import TRAIN_SEED, Sizes, world_features
from heimdall_core.features import FeatureCache
from heimdall_core.local.recordings import import_folder
from heimdall_core.recordings.archive import pack_session
from heimdall_core.simulation.sites import ORIGIN, SITES
from heimdall_core.simulation.world_a import simulate_sessions
from heimdall_core.storage.folder import FolderStore

#: Batches of another size round otherwise; SigMF keeps samples exactly and levels to 1e-6 dB.
_LARGEST_DIFFERENCE = 1e-4


class _Silent:
    """A reporter that nobody listens to."""

    def stop_requested(self) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def main() -> int:
    """Returns 0 if they agree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.import_check", description=__doc__)
    parser.add_argument("--sessions", type=int, default=200)
    num_sessions = parser.parse_args().sessions
    straight = world_features(Sizes(train=num_sessions, val=1, test=1)).inputs[:num_sessions]
    difference = float(np.abs(_imported(num_sessions) - straight).max())
    print(f"{num_sessions} sessions: largest difference {difference:.2e}")
    return int(not difference <= _LARGEST_DIFFERENCE)


def _imported(num_sessions: int) -> np.ndarray:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for number, session in enumerate(simulate_sessions(num_sessions, TRAIN_SEED)):
            (folder / "in" / f"{number:06d}.sigmf").write_bytes(pack_session(session).data)
        (folder / "out").mkdir()
        manifest = import_folder(folder / "in", folder / "out", _Silent())
        seen = replace(
            manifest,
            receivers=manifest_receivers([s.receiver for s in SITES]),
            origin_latitude=ORIGIN[0],
            origin_longitude=ORIGIN[1],
            sessions=tuple(sorted(manifest.sessions, key=lambda s: s.source)),
        )
        features = FeatureCache(folder / "cache").get(seen, FolderStore(folder / "out"))
        return np.array(features.inputs)


if __name__ == "__main__":
    sys.exit(main())
