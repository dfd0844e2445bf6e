"""Datasets for people: what a preview found, what a version holds."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from heimdall_core.cli.client import Json
from heimdall_core.cli.output import console, metres, moment, say, show_table, table

SPLITS = ("train", "val", "test")

_BAR_CHARS = 24
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_MAX_WIDTH = 100
_MAX_BINS = 40
_REASONS = {
    "pending": "are pending: nobody has approved them yet",
    "rejected": "are rejected",
    "approved": "are approved, which was not asked for",
    "incomplete_source": "are of a source without position or frequency",
    "no_recordings": "have no recording by the selected receivers",
    "unverified_iq": "have only IQ without a checksum or of an unknown format",
    "too_few_receivers": "were recorded by too few receivers",
    "below_min_snr": "have too few recordings that reach the SNR",
}


def describe(version: Json) -> str:
    """A dataset version in one line."""
    counts = version["counts"]
    return (
        f"{version['name']} version {version['version']}: {counts['train']} training, {counts['val']} "
        f"validation, {counts['test']} test sessions of {len(version['receivers'])} receivers"
    )


def show_preview(name: str, found: Json) -> None:
    """Prints what freezing would make."""
    of_recordings = f"{_number(found['sessions'], 'session')} and {_number(found['recordings'], 'recording')}"
    places = f"{_number(found['sources'], 'source')} at {_number(found['positions'], 'position')}"
    receivers = _number(len(found["receivers"]), "receiver")
    _tell(f"{name} would hold {of_recordings} by {receivers}, of {places}.")
    _show_extent(found)
    _show_splits(found)
    _show_separation(found)
    _show_receivers(found["receivers"])
    _show_heard_by(found["heard_by"])
    _show_snr(found["snr"])
    _show_frequencies(found)
    _show_left_out(found)
    _show_duplicates(found["duplicates"])
    _show_verdict(name, found)


def show_version(version: Json) -> None:
    """Prints one dataset version."""
    counts = version["counts"]
    say(f"[bold]{escape(version['name'])}[/] version [bold]{version['version']}[/]")
    _show_facts(
        {
            "created": f"{moment(version['created_at'])} by {version['created_by']}",
            "digest": version["digest"],
            "manifest": version["manifest"]["uri"],
            "recordings": f"{counts['recordings']:,} in {_number(counts['units'], 'unit')}",
        }
    )
    found = version.get("statistics")
    if found:
        _show_extent(found)
        _show_splits(found)
        _show_separation(found)
        _show_receivers(found["receivers"])
        _show_heard_by(found["heard_by"])
        _show_snr(found["snr"])
        _show_frequencies(found)
    else:
        _show_bars("split", "sessions", [(split, counts[split]) for split in SPLITS])
    made = _table("receiver", "latitude", "longitude", "altitude", right=(1, 2, 3))
    for receiver in version["receivers"]:
        place = (
            f"{receiver['latitude']:.4f}",
            f"{receiver['longitude']:.4f}",
            f"{receiver['altitude_m']:.0f} m",
        )
        made.add_row(escape(receiver["name"]), *place)
    _show(made)
    say()
    _show_facts(dict(_members("query", version["query"])) or {"query": "everything that was approved"})
    _show_facts(dict(_members("split", version["split"])))


def _members(prefix: str, value: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    """The members that say something, nested ones with dots between their names."""
    for name, member in value.items():
        path = f"{prefix}.{name}"
        if isinstance(member, Mapping):
            yield from _members(path, member)
        elif isinstance(member, list):
            yield path, _listed(member)
        elif member is not None:
            yield path, str(member)


def _listed(values: Sequence[object], most: int = 8) -> str:
    shown = ", ".join(str(value) for value in values[:most])
    return f"{shown}, ... ({len(values):,} in all)" if len(values) > most else shown


def _show_facts(facts: Mapping[str, str]) -> None:
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        _tell(value, head=f"{name:<{width}}  ")


def _show_extent(found: Json) -> None:
    if found["time_range"]:
        times = found["time_range"]
        _tell(f"From {moment(times['first'])} to {moment(times['last'])},{_area(found['bounding_box'])}.")


def _area(box: Json) -> str:
    return (
        f" latitude {box['min_latitude']:.4f} to {box['max_latitude']:.4f},"
        f" longitude {box['min_longitude']:.4f} to {box['max_longitude']:.4f}"
    )


def _show_splits(found: Json) -> None:
    splits = found["splits"]
    if not splits:
        return
    made = _table("split", "sessions", "units", "positions", "", right=(1, 2, 3))
    most = max(size["sessions"] for size in splits.values())
    for split in SPLITS:
        size = splits[split]
        numbers = (f"{size[name]:,}" for name in ("sessions", "units", "positions"))
        made.add_row(split, *numbers, _bar(size["sessions"], most))
    _show(made)


def _show_separation(found: Json) -> None:
    """How near the positions of val and test come to those that train."""
    if not found["separation"]:
        return
    made = _table("nearest training position", "smallest", "10 %", "median", "shared", right=(1, 2, 3, 4))
    for split, distance in found["separation"].items():
        lengths = (metres(distance[name]) for name in ("smallest_m", "p10_m", "median_m"))
        made.add_row(f"of {split} positions", *lengths, f"{distance['shared_positions']:,}")
    _show(made)


def _show_receivers(receivers: Sequence[Json]) -> None:
    if not receivers:
        return
    made = _table("receiver", "recordings", "median SNR", "", right=(1, 2))
    most = max(receiver["recordings"] for receiver in receivers)
    for receiver in receivers:
        count, level = receiver["recordings"], receiver["median_snr_db"]
        snr = "unknown" if level is None else f"{level:.1f} dB"
        made.add_row(escape(receiver["name"]), f"{count:,}", snr, _bar(count, most))
    _show(made)


def _show_heard_by(heard_by: Sequence[Json]) -> None:
    rows = [(_number(one["receivers"], "receiver"), one["sessions"]) for one in heard_by]
    _show_bars("recorded by", "sessions", rows)


def _show_snr(snr: Json) -> None:
    rows = [(f"{low:>4} to {high:>3} dB", count) for low, high, count in _without_gaps(snr["bins"])]
    if snr["unknown"]:
        rows.append(("unknown", snr["unknown"]))
    _show_bars("SNR", "recordings", rows)


def _without_gaps(bins: Sequence[Json]) -> list[tuple[int, int, int]]:
    """Lower end, upper end and recordings of each bin, empty ones between included if they are not many."""
    known = {one["from_db"]: (one["from_db"], one["to_db"], one["recordings"]) for one in bins}
    if not known:
        return []
    low, high, _ = known[min(known)]
    steps = range(low, max(known) + 1, high - low)
    if len(steps) > _MAX_BINS:
        return list(known.values())
    return [known.get(step, (step, step + high - low, 0)) for step in steps]


def _show_frequencies(found: Json) -> None:
    rows = [(f"{one['frequency_hz'] / 1e6:.6g} MHz", one["sessions"]) for one in found["frequencies"]]
    _show_bars("frequency", "sessions", rows)
    if found["num_frequencies"] > len(rows):
        say(f"[dim]and {found['num_frequencies'] - len(rows)} more frequencies[/]")


def _show_left_out(found: Json) -> None:
    lines = [(found["left_out"].get(reason, 0), text) for reason, text in _REASONS.items()]
    told = [f"{_number(count, 'session')} {text}" for count, text in lines if count]
    unusable = found["recordings_left_out"]
    if unusable["unverified"]:
        told.append(f"{_number(unusable['unverified'], 'recording')} cannot be verified")
    if unusable["repeated"]:
        told.append(f"{_number(unusable['repeated'], 'recording')} repeat a receiver: the earliest is taken")
    if told:
        say("\n[bold]left out[/]")
    for line in told:
        _tell(line, head="  ")


def _show_duplicates(duplicates: Json) -> None:
    if not duplicates["sessions"]:
        return
    say("\n[bold]duplicates[/]")
    across = f", {duplicates['across_splits']:,} of them across splits" if duplicates["across_splits"] else ""
    _tell(f"{_number(duplicates['sessions'], 'session')} share recordings byte for byte{across}:", head="  ")
    for session_id in duplicates["session_ids"]:
        say(f"    {session_id}")


def _show_verdict(name: str, found: Json) -> None:
    say()
    if found["problems"]:
        say("[bold red]freezing would fail[/]")
        for problem in found["problems"]:
            _tell(problem["detail"], head=f"  {problem['pointer']}  ")
    elif found["same_as_version"] is not None:
        _tell(f"{name} version {found['same_as_version']} holds exactly this already.")
    else:
        _tell(f"`heimdall datasets create` would make it version {found['would_create_version']}.")


def _show_bars(label: str, unit: str, rows: Sequence[tuple[str, int]]) -> None:
    if not rows:
        return
    made = _table(label, unit, "", right=(1,))
    most = max(count for _, count in rows)
    for text, count in rows:
        made.add_row(text, f"{count:,}", _bar(count, most))
    _show(made)


def _table(*columns: str, right: Sequence[int] = ()) -> Table:
    made = table(*columns)
    for place in right:
        made.columns[place].justify = "right"
    return made


def _show(made: Table) -> None:
    say()
    show_table(made)


def _bar(count: int, most: int) -> str:
    """A horizontal bar in eighths of a character; what is not nothing is seen."""
    eighths = max(round(8 * _BAR_CHARS * count / most), 1) if count else 0
    return _EIGHTHS[8] * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _tell(text: str, head: str = "") -> None:
    """Prints a paragraph, wrapped between words, its lines under each other behind ``head``."""
    width = max(min(console.width, _MAX_WIDTH) - len(head), 1)
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    for line in lines or [""]:
        console.print(head + line, markup=False)
        head = " " * len(head)
