"""The end of the demonstration: how good the model is, and where everything lies."""

from collections.abc import Mapping

from heimdall_core.cli.client import Json
from heimdall_core.cli.output import console, member, metres, say, show_table, size, table

BASELINES = {
    "train_mean": "train mean",
    "weighted_centroid": "weighted centroid",
    "knn": "kNN (15)",
    "log_distance_grid": "log-distance grid",
}
ERRORS = {"mean_error_m": "mean", "median_error_m": "median", "rmse_m": "RMSE", "p90_error_m": "p90"}


def show_summary(job: Json, version: Json, *, url: str, key_place: str) -> None:
    """Prints the tables of the summary; ``key_place`` says where the key for the dashboard is."""
    result = job["result"]
    _show_errors(result, num_sessions=member(version, "counts", "test"))
    for name, value in _facts(job, url, key_place).items():
        console.print(f"{name:<12}{value}", markup=False)


def _show_errors(result: Mapping[str, object], *, num_sessions: object) -> None:
    say()
    errors = table(
        "", *ERRORS.values(), "in 68 % ellipse", title=f"Error on {num_sessions} held-out sessions"
    )
    metrics = member(result, "metrics")
    if isinstance(metrics, Mapping):
        errors.add_row("[bold]this model[/]", *_row(metrics))
    baselines = member(result, "baselines")
    for name, title in BASELINES.items():
        values = member(baselines if isinstance(baselines, Mapping) else None, name)
        if isinstance(values, Mapping):
            errors.add_row(title, *_row(values))
    show_table(errors)
    say()


def _row(values: Mapping[str, object]) -> list[str]:
    coverage = values.get("coverage_68")
    inside = f"{100 * coverage:.0f} %" if isinstance(coverage, int | float) else "-"
    return [*(metres(values.get(name)) for name in ERRORS), inside]


def _facts(job: Json, url: str, key_place: str) -> dict[str, str]:
    result = job["result"]
    onnx = result.get("onnx") or {}
    model = result.get("model") or {}
    facts = {
        "model": f"{model.get('name')} version {model.get('version')}",
        "ONNX": f"{onnx.get('uri')}  {size(onnx['bytes'])}" if onnx else "-",
        "parity": _parity(result.get("onnx_parity") or {}),
        "objects": str(onnx.get("uri", "")).rpartition("/")[0] or "-",
        "MLflow run": str(result.get("mlflow_run_id") or "-"),
        "API docs": f"{url}/docs",
        "dashboard": f"{url}/  (sign in with the key in {key_place})",
    }
    return {name: value for name, value in facts.items() if value != "-"}


def _parity(parity: Mapping[str, object]) -> str:
    difference, latency = parity.get("max_difference"), parity.get("latency_ms")
    if not isinstance(difference, int | float) or not isinstance(latency, int | float):
        return "-"
    return f"differs from PyTorch by at most {difference:.1e}; {latency:.2f} ms per session on one core"
