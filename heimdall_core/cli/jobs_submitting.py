"""``heimdall jobs submit|export|evaluate``: requests for jobs."""

from pathlib import Path
from typing import Annotated

import typer

from heimdall_core.cli.client import Json, connect
from heimdall_core.cli.completion import dataset_names, model_names
from heimdall_core.cli.following import follow
from heimdall_core.cli.model_summary import promotion_of
from heimdall_core.cli.output import member, metres, say, show_json, size
from heimdall_core.cli.request_bodies import read_body
from heimdall_core.domain.errors import InvalidRequest

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_DATASET = typer.Argument(help="Dataset, as NAME or NAME/VERSION.", autocompletion=dataset_names)
WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")]
KeyOption = Annotated[
    str | None, typer.Option(help="Of the request: the same key never queues a second job.")
]


def submit(
    dataset: Annotated[str | None, _DATASET] = None,
    *,
    model: Annotated[str | None, typer.Option(help="Name of the registered model.")] = None,
    backbone: Annotated[str | None, typer.Option(help="micro, atto, ... large.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1)] = None,
    batch_size: Annotated[int | None, typer.Option(min=1)] = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    pretrained: Annotated[
        bool | None, typer.Option(help="Start the backbone from published ImageNet weights.")
    ] = None,
    freeze_backbone: Annotated[
        bool | None, typer.Option(help="Keep the backbone as it starts; needs --pretrained or --init-from.")
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Start from a registered model's weights: NAME (its champion) or NAME/VERSION.",
            autocompletion=model_names,
        ),
    ] = None,
    priority: Annotated[str | None, typer.Option(help="low, normal or high.")] = None,
    file: Annotated[Path | None, typer.Option(help="The whole request as JSON; - reads stdin.")] = None,
    idempotency_key: KeyOption = None,
    watch: WatchOption = False,
    as_json: JsonOption = False,
) -> None:
    """Submits a training job."""
    if (dataset is None) == (file is None):
        raise InvalidRequest("name either a dataset or --file")
    if file is not None:
        body = read_body(file)
    else:
        assert dataset is not None
        body = {"kind": "train", "dataset": _version_reference(dataset)}
    network = {"backbone": backbone, "pretrained": pretrained, "freeze_backbone": freeze_backbone}
    _put(body, "model", name=model, **network)
    _put(body, "training", epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    if priority:
        body["priority"] = priority
    if init_from is not None:
        body["init_from"] = _version_reference(init_from)
    _submit(body, idempotency_key, watch=watch, as_json=as_json)


def export(
    source: Annotated[str, typer.Argument(help="MODEL, MODEL/VERSION, or the id of a job or checkpoint.")],
    opset: Annotated[int | None, typer.Option(min=17, max=23, show_default="18")] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="fp32, fp16 or int8; several make several files.", show_default="fp32"),
    ] = None,
    include_frontend: Annotated[
        bool, typer.Option("--include-frontend", help="Graphs from IQ to position.")
    ] = False,
    register: Annotated[
        bool, typer.Option("--register", help="Make it the next version of its model.")
    ] = False,
    promote: Annotated[str | None, typer.Option(help="With --register: never or if_better.")] = None,
    idempotency_key: KeyOption = None,
    watch: WatchOption = False,
    as_json: JsonOption = False,
) -> None:
    """Exports trained weights to ONNX again, evaluated and verified anew."""
    body: Json = {"kind": "export", "source": _export_source(source)}
    body |= _outputs(precision, opset=opset, include_frontend=include_frontend)
    if promote and not register:
        raise InvalidRequest("--promote needs --register")
    if register:
        _put(body, "register", enabled=True, promote=promote)
    _submit(body, idempotency_key, watch=watch, as_json=as_json)


def _outputs(precisions: list[str] | None, *, opset: int | None, include_frontend: bool) -> Json:
    """The files that are asked for, if the service's default is not."""
    every: Json = {} if opset is None else {"opset": opset}
    if include_frontend:
        every["include_frontend"] = True
    if not precisions:
        return {"outputs": [every]} if every else {}
    return {"outputs": [{"precision": precision, **every} for precision in precisions]}


def evaluate(
    model: Annotated[str, typer.Argument(help="MODEL or MODEL/VERSION.")],
    dataset: Annotated[str, _DATASET],
    split: Annotated[str | None, typer.Option(help="train, val or test.", show_default="test")] = None,
    idempotency_key: KeyOption = None,
    watch: WatchOption = False,
    as_json: JsonOption = False,
) -> None:
    """Evaluates a registered model, as it is served, on a dataset version."""
    body: Json = {
        "kind": "evaluate",
        "model": _version_reference(model),
        "dataset": _version_reference(dataset),
    }
    if split is not None:
        body["split"] = split
    _submit(body, idempotency_key, watch=watch, as_json=as_json)


def _submit(body: Json, key: str | None, *, watch: bool, as_json: bool) -> None:
    with connect() as client:
        job = client.post("/v1/jobs", body, key=key)
        if not as_json:
            say(f"job [bold]{job['id']}[/] {job['status']}")
        if watch:
            job = follow(client, job["id"], quiet=as_json)
    if as_json:
        show_json(job)
    elif watch:
        tell_result(job)


def _export_source(text: str) -> Json:
    if text.startswith("job_"):
        return {"job_id": text}
    if text.startswith("ckpt_"):
        return {"checkpoint_id": text}
    return {"model": _version_reference(text)}


def _version_reference(text: str) -> Json:
    name, slash, version = text.partition("/")
    if slash and not version.isdecimal():
        raise InvalidRequest(f"{text!r} is not NAME or NAME/VERSION")
    return {"name": name} | ({"version": int(version)} if slash else {})


def _put(body: Json, group: str, **values: object) -> None:
    """Sets members of a nested object; what is None is left to the service."""
    given = {name: value for name, value in values.items() if value is not None}
    if given:
        body[group] = {**(body.get(group) or {}), **given}


def tell_result(job: Json) -> None:
    """The outcome of a followed job in a few lines."""
    result = job.get("result") or {}
    if metrics := result.get("metrics"):
        others = {name: m.get("median_error_m") for name, m in (result.get("baselines") or {}).items()}
        beside = ", ".join(f"{name} {metres(error)}" for name, error in others.items())
        median, mean = metres(metrics.get("median_error_m")), metres(metrics.get("mean_error_m"))
        count = member(result, "report", "num_sessions")
        of = f" of {count} {member(result, 'report', 'split')} sessions" if count else ""
        say(f"  median error {median}, mean {mean}{of}")
        say(f"  [dim]medians of the baselines: {beside}[/]")
    if onnx := result.get("onnx"):
        say(f"  ONNX {size(onnx['bytes'])}, sha256 {onnx['sha256']}")
        say(f"  [dim]`heimdall jobs files {job['id']} --to FOLDER` downloads it[/]")
    if model := result.get("model"):
        say(f"  registered as [bold]{model['name']}/{model['version']}[/]")
        if promotion := result.get("promotion"):
            say(f"  promotion to champion: {promotion_of(promotion)}")
