"""What a demonstration does: which recordings, how they are split, what is trained on them."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from heimdall_core.cli.client import Json
from heimdall_core.cli.output import say, size
from heimdall_core.cli.simulating import write_with_progress
from heimdall_core.cli.uploading import LocalFile
from heimdall_core.domain.errors import InvalidRequest

#: POWDER-7: the seven receivers that stand for a network of Heimdall's size.
POWDER_7 = (
    "cbrssdr1-honors-comp",
    "cbrssdr1-bes-comp",
    "cbrssdr1-hospital-comp",
    "cbrssdr1-ustar-comp",
    "cbrssdr1-fm-comp",
    "guesthouse-nuc2-b210",
    "ebc-nuc1-b210",
)
SEED = 0
TEST_BLOCK_KM = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """One demonstration. Equal inputs give an equal ``digest``, by which a second run finds the first."""

    title: str
    digest: str
    dataset: str
    files: Callable[[], list[LocalFile]]
    """Makes or finds the files to upload; called only when they are needed."""
    import_options: Json
    split: Json
    training: Json
    model: Json

    def train_body(self, dataset_version: int) -> Json:
        """The request for the training job."""
        return {
            "kind": "train",
            "dataset": {"name": self.dataset, "version": dataset_version},
            "model": self.model,
            "training": self.training,
            "tags": {"demo": self.digest},
        }


def synthetic_plan(folder: Path, *, num_sessions: int, epochs: int) -> DemoPlan:
    """Recordings of world A by the seven Heimdall receivers, split by spatial block."""

    def files() -> list[LocalFile]:
        paths = write_with_progress(folder / f"world-a-{SEED}", num_sessions=num_sessions, seed=SEED)
        say(
            f"  {len(paths)} sessions of synthetic FM heard by 7 receivers, "
            f"{size(sum(p.stat().st_size for p in paths))} of IQ in SigMF archives"
        )
        return [LocalFile(name=path.name, path=path) for path in paths]

    return DemoPlan(
        title=f"{num_sessions} synthetic sessions",
        digest=_digest("world-a", num_sessions, SEED),
        dataset="demo",
        files=files,
        import_options={"auto_approve": False},
        split={
            "strategy": "spatial_block",
            "block_km": TEST_BLOCK_KM,
            "test_fraction": 0.2,
            "val_fraction": 0.2,
            "seed": SEED,
        },
        training={"epochs": epochs, "batch_size": 32, "learning_rate": 1e-3, "seed": SEED},
        model={"name": "localization-demo", "backbone": "micro"},
    )


def power_table_plan(folder: Path, *, receivers: Sequence[str], test_fold: int, epochs: int) -> DemoPlan:
    """Measured powers, rendered to IQ by the import, one spatial fold held out.

    Raises:
        InvalidRequest: the folder has no power table, or the fold is not among those of the table.
    """
    tables = [folder / "receivers.csv", folder / "transmissions.csv"]
    if missing := [table.name for table in tables if not table.is_file()]:
        raise InvalidRequest(f"{folder} has no {' and no '.join(missing)}")
    folds = _folds(tables[1])
    if str(test_fold) not in folds:
        raise InvalidRequest(f"transmissions.csv has no fold {test_fold}; its folds: {', '.join(folds)}")
    validation = folds[(folds.index(str(test_fold)) + 1) % len(folds)]
    contents = [hashlib.sha256(table.read_bytes()).hexdigest() for table in tables]
    return DemoPlan(
        title=f"power table {folder}, {len(receivers)} receivers, fold {test_fold} held out",
        digest=_digest("power-table", contents, list(receivers), test_fold),
        dataset=f"power-table-fold-{test_fold}",
        files=lambda: [LocalFile(name=table.name, path=table) for table in tables],
        import_options={"auto_approve": False, "receivers": list(receivers)},
        split={
            "strategy": "group",
            "test_groups": [str(test_fold)],
            "val_groups": [validation],
            "seed": SEED,
        },
        training={"epochs": epochs, "batch_size": 32, "learning_rate": 1e-3, "seed": SEED},
        model={"name": "localization-power-table", "backbone": "micro"},
    )


def _folds(transmissions: Path) -> list[str]:
    """The values of column ``fold``, sorted."""
    header, *rows = transmissions.read_text().splitlines()
    columns = header.split(",")
    if "fold" not in columns:
        raise InvalidRequest(f"{transmissions} has no column 'fold' to hold out")
    place = columns.index("fold")
    return sorted({row.split(",")[place] for row in rows if row})


def _digest(*content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
