"""The reference of the command line as Markdown: ``python -m heimdall_core.cli.reference FILE [--check]``."""

import difflib
import re
import sys
from collections.abc import Iterable, Iterator
from enum import Enum
from inspect import unwrap
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import typer

from heimdall_core.cli.errors import EXIT_CODES

TITLE: Final = "# The `heimdall` command"
INTRODUCTION: Final = (
    "This page is generated from the command itself: "
    "`python -m heimdall_core.cli.reference docs/reference/cli.md`."
)
_KINDS: Final = {str: "TEXT", int: "INTEGER", float: "NUMBER", Path: "PATH"}
ENVIRONMENT: Final = {
    "HEIMDALL_URL": "address of the service; without it the one that `heimdall up` started is used",
    "HEIMDALL_API_KEY": "key for that service",
    "HEIMDALL_HOME": "state directory of `heimdall up` and cache of downloads; `~/.heimdall` by default",
    "HEIMDALL_DEBUG": "`1` shows tracebacks",
    "NO_COLOR": "anything: no colours",
}


def main() -> None:
    """Writes the reference, or with ``--check`` compares it and ends with 1 if it is stale."""
    arguments = [a for a in sys.argv[1:] if a != "--check"]
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.exit("usage: python -m heimdall_core.cli.reference FILE [--check]")
    path, wanted = Path(arguments[0]), render()
    if "--check" not in sys.argv[1:]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted)
        return
    if difference := stale_lines(path, wanted):
        sys.stderr.write("\n".join(difference) + f"\n{path} is stale: generate it again\n")
        sys.exit(1)


def stale_lines(path: Path, wanted: str) -> list[str]:
    """What differs between the file and the reference as it should be, as a diff."""
    present = path.read_text() if path.exists() else ""
    return list(
        difflib.unified_diff(
            present.splitlines(), wanted.splitlines(), str(path), "generated", lineterm="", n=1
        )
    )


def render() -> str:
    """The whole reference."""
    from heimdall_core.cli.main import PANELS, app

    tree = typer.main.get_command(app)
    blocks = [TITLE, INTRODUCTION, str(tree.help), *_contents(tree, PANELS)]
    for names in PANELS.values():
        for name in names:
            blocks += _command(tree.commands[name], f"heimdall {name}")  # type: ignore[attr-defined]
    blocks += [
        "## Exit codes",
        _table(("code", "meaning"), ((str(int(c)), t) for c, t in EXIT_CODES.items())),
    ]
    rows = ((f"`{name}`", meaning) for name, meaning in ENVIRONMENT.items())
    blocks += ["## Environment", _table(("variable", "meaning"), rows)]
    return "\n\n".join(blocks) + "\n"


def _contents(tree: Any, panels: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """The commands by panel, each linked."""
    for panel, names in panels.items():
        rows = (
            (f"[`heimdall {name}`](#heimdall-{name})", _first_line(tree.commands[name].help))
            for name in names
        )
        yield f"**{panel}**"
        yield _table(("command", ""), rows)


def _command(command: Any, path: str) -> Iterator[str]:
    """A command, or a group and its commands."""
    depth = len(path.split())
    yield f"{'#' * depth} {path}"
    yield _text(command.help)
    members = getattr(command, "commands", None)
    if members:
        for name, member in members.items():
            yield from _command(member, f"{path} {name}")
        return
    yield f"```\n{_usage(command, path)}\n```"
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    if arguments:
        yield _table(("argument", "meaning"), ((f"`{_metavar(a)}`", _meaning(a)) for a in arguments))
    if options:
        hints = get_type_hints(unwrap(command.callback), include_extras=True)
        rows = ((_option(o, hints.get(o.name, str)), _meaning(o)) for o in options)
        yield _table(("option", "meaning"), rows)


def _usage(command: Any, path: str) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    shown = (_metavar(a) if a.required else f"[{_metavar(a)}]" for a in arguments)
    return " ".join([path, "[OPTIONS]", *shown])


def _metavar(parameter: Any) -> str:
    name = str(parameter.metavar or parameter.name).upper()
    return f"{name}..." if parameter.nargs == -1 else name


def _option(option: Any, annotation: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    return names if option.is_flag else f"{names} {_values(annotation)}"


def _values(annotation: Any) -> str:
    """The kind of value that an annotated parameter takes, with its choices or bounds."""
    bounds = next((m for m in getattr(annotation, "__metadata__", ()) if hasattr(m, "min")), None)
    kind = _kind(annotation)
    if get_origin(kind) is Literal:
        return _choices(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _choices(member.value for member in kind)
    low, high = getattr(bounds, "min", None), getattr(bounds, "max", None)
    range_ = "" if low is high is None else f" {'' if low is None else low}..{'' if high is None else high}"
    return _KINDS.get(kind, str(getattr(kind, "__name__", kind)).upper()) + range_


def _kind(annotation: Any) -> Any:
    """The type within ``Annotated``, ``| None`` and ``list``."""
    if hasattr(annotation, "__metadata__"):
        return _kind(annotation.__origin__)
    if get_origin(annotation) in {Union, UnionType}:
        return _kind(next(member for member in get_args(annotation) if member is not NoneType))
    return _kind(get_args(annotation)[0]) if get_origin(annotation) is list else annotation


def _choices(values: Iterable[object]) -> str:
    return " \\| ".join(f"`{value}`" for value in values)


def _meaning(parameter: Any) -> str:
    parts = [_text(parameter.help).replace("\n\n", " ").replace("|", "\\|")] if parameter.help else []
    if parameter.required and parameter.param_type_name == "option":
        parts.append("Required.")
    default = _default(parameter)
    return " ".join([*parts, *([f"Default: {default}."] if default else [])])


def _default(parameter: Any) -> str | None:
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    value = parameter.default
    if value is None or callable(value) or isinstance(value, bool) or value in ((), []):
        return None
    return f"`{getattr(value, 'value', value)}`"


def _text(text: str) -> str:
    """Help as Markdown: paragraphs of one line each."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(" ".join(p.split()) for p in paragraphs)


def _first_line(text: str | None) -> str:
    return _text(text or "").partition("\n")[0]


def _table(head: tuple[str, str], rows: Any) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    return "\n".join(lines + [f"| {first} | {second} |" for first, second in rows])


if __name__ == "__main__":
    main()
