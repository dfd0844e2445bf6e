"""What differs between then and now is told beforehand, and whether it may change bits."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from heimdall_core.replay.conditions import Difference, find_differences, promise_of
from heimdall_core.replay.record import read_record
from heimdall_core.replay.running import spec_of
from heimdall_core.training.provenance import describe_environment

Manifests = Callable[..., dict[str, Any]]


def differing(manifest: Manifests, **changes: Any) -> list[Difference]:
    content = manifest(**(describe_environment() | changes))
    return find_differences(read_record(json.dumps(content).encode(), "manifest.json"))


def then(member: str, **changes: Any) -> dict[str, Any]:
    return {member: {**describe_environment()[member], **changes}}


def parts(**changes: str | None) -> dict[str, Any]:
    known = {**describe_environment()["code"]["parts"], **changes}
    return then("code", parts={k: v for k, v in known.items() if v is not None}, source_sha256="0" * 64)


def test_here_and_now_nothing_differs(manifest: Manifests) -> None:
    assert differing(manifest) == []


@pytest.mark.parametrize(
    ("changes", "name", "may_change_bits"),
    [
        (then("versions", torch="1.0"), "torch", True),
        (then("versions", scipy=None), "scipy", True),
        (then("versions", mlflow="1.0"), "mlflow", False),
        (then("host", cpu="Abacus"), "the kind of CPU", True),
        (then("host", cpu_capability="AVX2"), "the instructions that torch uses", True),
        (then("host", gpu="H100"), "the GPU", False),
        (then("host", torch_threads=None), "torch's threads", True),
        (then("host", torch_threads=4096), "cores", False),
        (parts(networks="1" * 64), "code of heimdall_core: networks", True),
        (parts(cli="1" * 64, embedded=None), "code of heimdall_core: cli, embedded", False),
        ({"code": None}, "code of heimdall_core", True),
        ({"installed_sha256": "0" * 64}, "installed distributions", False),
        ({"adjustments": {"micro_batch_size": 2}}, "the micro-batch", True),
        ({"resumed_from": "s3://out/checkpoints/step-7.ckpt"}, "the beginning", True),
    ],
)
def test_each_difference_is_named_with_what_it_may_do(
    manifest: Manifests, changes: dict[str, Any], name: str, may_change_bits: bool
) -> None:
    (found,) = differing(manifest, **changes)
    assert (found.name, found.may_change_bits) == (name, may_change_bits)
    assert found.then != found.now


def test_a_job_that_was_resumed_is_as_if_it_never_was(manifest: Manifests) -> None:
    job = {"id": "job_1", "attempt": 3}
    assert differing(manifest, job=job, resumed_from="s3://models/jobs/1/a2/checkpoints/7.ckpt") == []


def test_what_may_change_bits_comes_first(manifest: Manifests) -> None:
    found = differing(manifest, **then("versions", mlflow="1.0", torch="1.0"))
    assert [difference.name for difference in found] == ["torch", "mlflow"]


@pytest.mark.parametrize(
    ("device", "promised"),
    [
        ({"accelerator": "cpu", "devices": 1, "precision": "fp32"}, "give the same bits"),
        ({"accelerator": "cpu", "devices": 3, "precision": "fp32"}, "3 processes"),
        ({"accelerator": "cuda", "devices": 1, "precision": "bf16"}, "not promised"),
    ],
)
def test_what_can_be_promised_depends_on_the_device(
    manifest: Manifests, device: dict[str, Any], promised: str
) -> None:
    record = read_record(json.dumps(manifest(device=device)).encode(), "manifest.json")
    assert promised in promise_of(record)


def test_device_and_precision_are_those_of_then_whatever_auto_means_now(manifest: Manifests) -> None:
    device = {"accelerator": "cuda", "devices": 1, "precision": "bf16"}
    spec = spec_of(read_record(json.dumps(manifest(device=device)).encode(), "manifest.json"))
    assert (spec.resources.accelerator, spec.training.precision) == ("gpu", "bf16")
    assert not spec.export.enabled
