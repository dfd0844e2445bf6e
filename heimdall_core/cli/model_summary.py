"""A registered model version on a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from heimdall_core.cli.client import Json
from heimdall_core.cli.output import console, member, metres, moment, say, size


def show_version(version: Json) -> None:
    """Prints a model version in sections."""
    marks = "".join(f"  [green]{alias}[/]" for alias in version["aliases"])
    say(f"[bold]{version['name']}/{version['version']}[/]{marks}")
    for name, value in facts_of(version):
        console.print(f"  {name:<16} {value}", markup=False)
    say("  metrics on the test split")
    for name, value in metrics_of(version["metrics"]):
        console.print(f"    {name:<28} {value}", markup=False)


def facts_of(version: Json) -> Iterator[tuple[str, str]]:
    """What the version is and where it comes from."""
    dataset, onnx, facts = version["dataset"], version["onnx"], version["facts"]
    yield "dataset", f"{dataset['name']}/{dataset['version']}  digest {dataset['digest']}"
    names = [_receiver(receiver) for receiver in facts.get("receivers") or ()]
    if names:
        yield "receivers", f"{len(names)}: {', '.join(names)}"
    for name in ("backbone", "covariance", "components", "point_estimate"):
        if name in facts:
            yield name, str(facts[name])
    yield "ONNX", f"{size(onnx['bytes'])}  {onnx['uri']}"
    yield "sha256", onnx["sha256"]
    for export in (version.get("exports") or ())[1:]:
        yield "also exported", f"{export['name']}  {export['precision']}  {size(export['bytes'])}"
    yield "verified", _verification(version.get("verification"))
    yield "job", version["job_id"]
    if parent := member(version, "lineage", "parent"):
        assert isinstance(parent, Mapping)
        relation = "weights of" if parent["relation"] == "exported" else "started from"
        yield relation, f"{parent['name']}/{parent['version']}"
    if promotion := version.get("promotion"):
        yield "promotion", promotion_of(promotion)
    if version.get("mlflow_run_id"):
        yield "MLflow run", version["mlflow_run_id"]
    yield "created", f"{moment(version['created_at'])} by {version['created_by']}"


def promotion_of(promotion: Mapping[str, Any]) -> str:
    """What ``register.promote`` of the job came to, in a few words."""
    outcome = str(promotion["outcome"])
    if outcome == "waits":
        jobs = promotion.get("evaluation_job_ids") or ()
        return f"waits for {', '.join(jobs)}"
    if outcome == "promoted":
        return outcome
    checks = (promotion.get("verdict") or {}).get("checks") or ()
    failed = [check["name"] for check in checks if not check["passed"]]
    return f"{outcome}: {', '.join(failed) or promotion.get('reason')}"


def _verification(verification: Mapping[str, object] | None) -> str:
    if not verification or verification.get("passed") is not True:
        return "no: it cannot be promoted"
    difference, tolerance = verification.get("mean_difference"), verification.get("tolerance")
    if isinstance(difference, int | float) and isinstance(tolerance, int | float):
        return f"yes: mean difference {difference:.1e}, at most {tolerance:.0e}"
    return "yes"


def _receiver(receiver: object) -> str:
    return str(receiver["name"]) if isinstance(receiver, Mapping) else str(receiver)


def metrics_of(metrics: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each number by its name, nested ones by their path."""
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from metrics_of(value, f"{prefix}{name}.")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            yield prefix + name, "-" if value is None else str(value)
        else:
            yield prefix + name, metres(value) if name.endswith("_m") else f"{value:z.4g}"
