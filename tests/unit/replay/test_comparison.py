"""Weights agree bit for bit or they differ; where they differ, by how much."""

from pathlib import Path

import pytest
import torch

from heimdall_core.domain.errors import HeimdallError
from heimdall_core.domain.ports import StoredObject
from heimdall_core.replay.comparison import WeightsVerdict, compare_metrics, compare_weights
from heimdall_core.storage import FolderStore
from heimdall_core.training.provenance import digest_weights

WEIGHTS = {"a": torch.tensor([1.0, -2.0]), "b": torch.tensor(3.0)}
CONSTRUCTION = {
    "num_receivers": 3,
    "backbone": "micro",
    "covariance": "diagonal",
    "origin": (45.0, 8.0),
    "plane_scale_km": 30.0,
    "receivers": (),
}


@pytest.fixture
def former(folder_store: FolderStore, tmp_path: Path) -> StoredObject:
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": WEIGHTS, "construction": CONSTRUCTION, "facts": {"epoch": 1}}, path)
    return folder_store.put_file("s3://models/best.ckpt", path)


def judge(
    now: dict[str, torch.Tensor], former: StoredObject | None, store: FolderStore, folder: Path, **given: str
) -> WeightsVerdict:
    recorded = given.get("recorded", digest_weights(WEIGHTS))
    return compare_weights(now, recorded_sha256=recorded or None, former=former, store=store, folder=folder)


@pytest.mark.parametrize(
    "other",
    [
        WEIGHTS | {"b": torch.tensor(3.0, dtype=torch.float64)},
        WEIGHTS | {"b": torch.tensor([3.0])},
        WEIGHTS | {"c": torch.zeros(0)},
        {"b": WEIGHTS["b"], "a": WEIGHTS["a"]},
        {"a": WEIGHTS["a"], "x": WEIGHTS["b"]},
        {"a": torch.tensor([1.0, -2.0000002]), "b": WEIGHTS["b"]},
        {"a": torch.tensor([1.0, -2.0]), "b": -(-WEIGHTS["b"] + 0.5) + 0.75},
    ],
)
def test_the_digest_changes_with_every_name_shape_type_order_and_bit(other: dict[str, torch.Tensor]) -> None:
    assert digest_weights(other) != digest_weights(WEIGHTS)


def test_the_digest_is_of_the_values_and_not_of_how_they_lie_in_memory() -> None:
    wide = torch.tensor([[1.0, 9.0], [-2.0, 9.0]])
    assert digest_weights({"a": wide[:, 0], "b": WEIGHTS["b"]}) == digest_weights(WEIGHTS)


def test_equal_weights_agree_without_their_file(folder_store: FolderStore, tmp_path: Path) -> None:
    assert judge(dict(WEIGHTS), None, folder_store, tmp_path).agree


def test_other_weights_differ_by_so_much(
    former: StoredObject, folder_store: FolderStore, tmp_path: Path
) -> None:
    now = WEIGHTS | {"a": torch.tensor([1.0, -2.5])}
    verdict = judge(now, former, folder_store, tmp_path)
    assert (verdict.agree, verdict.max_difference, verdict.worst, verdict.num_different) == (
        False,
        0.5,
        "a",
        1,
    )


def test_weights_that_are_not_finite_are_the_worst(
    former: StoredObject, folder_store: FolderStore, tmp_path: Path
) -> None:
    now = {"a": torch.tensor([9.0, 9.0]), "b": torch.tensor(float("nan"))}
    assert judge(now, former, folder_store, tmp_path).worst == "b"


def test_without_a_digest_the_file_decides(
    former: StoredObject, folder_store: FolderStore, tmp_path: Path
) -> None:
    assert judge(dict(WEIGHTS), former, folder_store, tmp_path, recorded="").agree
    assert not judge(WEIGHTS | {"b": torch.tensor(4.0)}, former, folder_store, tmp_path, recorded="").agree


def test_a_file_that_is_gone_leaves_the_distance_unknown_and_the_verdict_as_it_is(
    folder_store: FolderStore, tmp_path: Path
) -> None:
    gone = StoredObject(uri="s3://models/gone.ckpt", sha256="a" * 64, num_bytes=1)
    verdict = judge(WEIGHTS | {"b": torch.tensor(4.0)}, gone, folder_store, tmp_path)
    assert (verdict.agree, verdict.max_difference) == (False, None)
    assert "gone.ckpt" in (verdict.reason or "")
    with pytest.raises(HeimdallError):
        judge(dict(WEIGHTS), gone, folder_store, tmp_path, recorded="")


def test_a_file_that_was_replaced_is_not_compared_with(
    former: StoredObject, folder_store: FolderStore, tmp_path: Path
) -> None:
    folder_store.put_bytes(former.uri, b"another")
    verdict = judge(WEIGHTS | {"b": torch.tensor(4.0)}, former, folder_store, tmp_path)
    assert "has changed" in (verdict.reason or "")


def test_metrics_that_one_side_lacks_have_no_difference() -> None:
    found = compare_metrics({"a": 1.0, "b": 2.0}, {"a": 1.5, "c": None})
    assert found["a"] == {"then": 1.0, "now": 1.5, "difference": 0.5}
    assert found["b"]["difference"] is found["c"]["difference"] is None
