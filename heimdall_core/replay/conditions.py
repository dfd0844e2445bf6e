"""What differs between then and now, and what can be promised of a replay."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from heimdall_core.replay.record import RunRecord
from heimdall_core.training.installation import DETERMINING, changed_parts, describe_code
from heimdall_core.training.provenance import describe_environment

_COMPUTING = frozenset({"python", "torch", "numpy", "scipy", "pyproj", "lightning", "transformers"})
"""Packages whose versions may change the numbers of a training."""
_HOST = {
    "cpu": "the kind of CPU",
    "machine": "the machine's architecture",
    "cpu_capability": "the instructions that torch uses",
    "amx": "matrix instructions (AMX)",
    "gpu": "the GPU",
    "cuda": "the CUDA that torch was built with",
}
_SILENT = "unrecorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that was otherwise when the model was trained."""

    name: str
    then: str
    now: str
    may_change_bits: bool


def find_differences(record: RunRecord) -> list[Difference]:
    """What differs between the recorded training and one here and now; what may change bits comes first."""
    then, now = record.content, describe_environment()
    found = [
        *_versions(then.get("versions") or {}, now["versions"]),
        *_code(then.get("code")),
        *_installed(then.get("installed_sha256"), now["installed_sha256"]),
        *_host(record, now["host"]),
        *_course(then),
    ]
    return sorted(found, key=lambda difference: not difference.may_change_bits)


def promise_of(record: RunRecord) -> str:
    """What a replay of this training can be held to."""
    device = record.device or {}
    if device.get("accelerator", "cpu") != "cpu":
        return (
            "Trained on a GPU: deterministic kernels were asked for, so the same kind of GPU, driver and "
            "versions should give the same bits, but that is not promised; another kind of GPU will not."
        )
    if device.get("devices", 1) > 1:
        return (
            f"Trained by {device['devices']} processes: as many, on the same kind of CPU with the same "
            "versions, code and threads, give the same bits; another number does not."
        )
    return "Trained on a CPU: the same kind of CPU, versions, code and threads give the same bits."


def _versions(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    for name in sorted(then.keys() | now.keys()):
        if name == "heimdall-training" or then.get(name) == now.get(name):
            continue
        yield _difference(name, then.get(name), now.get(name), name in _COMPUTING)


def _code(then: Mapping[str, Any] | None) -> Iterator[Difference]:
    now = describe_code()
    if then is None:
        yield _difference("code of heimdall_core", None, _short(now), may_change_bits=True)
        return
    changed = changed_parts(then.get("parts") or {}, now["parts"])
    if changed:
        name = f"code of heimdall_core: {', '.join(changed)}"
        yield _difference(name, _short(then), _short(now), bool(DETERMINING & set(changed)))


def _installed(then: str | None, now: str) -> Iterator[Difference]:
    if then is not None and then != now:
        yield _difference("installed distributions", then[:12], now[:12], may_change_bits=False)


def _short(code: Mapping[str, Any]) -> str:
    commit = code.get("git_commit")
    return f"{code['version']} {str(code['source_sha256'])[:12]}" + (f" ({commit[:12]})" if commit else "")


def _host(record: RunRecord, now: Mapping[str, Any]) -> Iterator[Difference]:
    then: Mapping[str, Any] = record.content["host"]
    on_gpu = (record.device or {}).get("accelerator", "cpu") != "cpu"
    for member, name in _HOST.items():
        if then.get(member) != now.get(member):
            matters = on_gpu or member not in {"gpu", "cuda"}
            yield _difference(name, then.get(member), now.get(member), matters)
    if record.num_threads is None:
        yield _difference("torch's threads", None, now["torch_threads"], may_change_bits=True)
    elif (cores := now["num_cores"] or 1) < record.num_threads:
        yield _difference(
            "cores", f"{record.num_threads} threads", f"{cores}: slower, no other", may_change_bits=False
        )


def _course(then: Mapping[str, Any]) -> Iterator[Difference]:
    if then.get("adjustments"):
        yield _difference(
            "the micro-batch", "made smaller on the way, as memory ran out", "small from the start", True
        )
    if then.get("resumed_from") and "job" not in then:
        yield _difference("the beginning", f"resumed from {then['resumed_from']}", "from the start", True)
    if then["schema"] == 1:
        yield _difference("the last step", None, "as the specification says", may_change_bits=True)


def _difference(name: str, then: object, now: object, may_change_bits: bool) -> Difference:
    return Difference(name=name, then=_said(then), now=_said(now), may_change_bits=may_change_bits)


def _said(value: object) -> str:
    return _SILENT if value is None else str(value)
