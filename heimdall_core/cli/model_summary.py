"""A registered model version on a terminal."""

from collections.abc import Iterator, Mapping

from heimdall_core.cli.client import Json
from heimdall_core.cli.output import console, member, metres, moment, say, size


def show_version(version: Json) -> None:
    """Prints a model version in sections."""
    mark = "  [green]champion[/]" if "champion" in version["aliases"] else ""
    say(f"[bold]{version['name']}/{version['version']}[/]{mark}")
    for name, value in facts_of(version):
        console.print(f"  {name:<16} {value}", markup=False)
    say("  metrics on the test split")
    for name, value in metrics_of(version["metrics"]):
        console.print(f"    {name:<28} {value}", markup=False)


def facts_of(version: Json) -> Iterator[tuple[str, str]]:
    """What the version is and where it comes from."""
    dataset, onnx, facts = version["dataset"], version["onnx"], version["facts"]
    yield "dataset", f"{dataset['name']}/{dataset['version']}  digest {dataset['digest']}"
    names = [_receiver(receiver) for receiver in member(facts, "receivers") or ()]  # type: ignore[attr-defined]
    if names:
        yield "receivers", f"{len(names)}: {', '.join(names)}"
    for name in ("backbone", "covariance"):
        if name in facts:
            yield name, str(facts[name])
    yield "ONNX", f"{size(onnx['bytes'])}  {onnx['uri']}"
    yield "sha256", onnx["sha256"]
    yield "job", version["job_id"]
    if version.get("mlflow_run_id"):
        yield "MLflow run", version["mlflow_run_id"]
    yield "created", f"{moment(version['created_at'])} by {version['created_by']}"


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
            yield prefix + name, metres(value) if name.endswith("_m") else f"{value:.4g}"
