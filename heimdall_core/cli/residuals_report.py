"""The residuals of a job on a terminal: which labels are improbable, which errors are largest."""

from collections.abc import Sequence

from heimdall_core.cli.client import Json
from heimdall_core.cli.output import console, metres, say, show_rows

MOST_ROWS = 30
_COLUMNS = ("session", "split", "latitude", "longitude", "error", "sigma", "p", "neighbours", "heard", "SNR")


def show_residuals(found: Json, *, limit: int) -> None:
    """Prints the sessions with the largest errors, and how many labels are suspected."""
    rows = sorted(found["sessions"], key=lambda row: -row["error_m"])
    show_rows(_COLUMNS, (_cells(row) for row in rows[:limit]), empty="no session")
    _tell_more(rows, limit, "the largest errors")
    if found["suspects"]:
        say(f"{len(found['suspects'])} labels are improbable: --suspects shows them")


def show_suspects(found: Json, *, limit: int) -> None:
    """Prints the sessions whose labels are improbable, and how to reject one."""
    rows = found["suspects"]
    show_rows(
        (*_COLUMNS, "evidence"),
        ((*_cells(row), " + ".join(row["evidence"])) for row in rows[:limit]),
        empty="no label is improbable",
    )
    _tell_more(rows, limit, "the least probable first")
    if not rows:
        return
    first = rows[0]["session_id"]
    say()
    say("Look before you reject: a place that the model does not know looks the same as a wrong label.")
    console.print(f"  heimdall recordings show {first}", markup=False)
    console.print(f"  heimdall recordings reject {first}", markup=False)
    say("Rejected sessions are left out of the dataset versions that are frozen from then on.")


def _cells(row: Json) -> tuple[object, ...]:
    sigma = max(row["sigma_east_m"], row["sigma_north_m"])
    snr = row["mean_snr_db"]
    return (
        row["session_id"],
        row["split"],
        f"{row['latitude']:.4f}",
        f"{row['longitude']:.4f}",
        metres(row["error_m"]),
        metres(sigma),
        f"{row['p_value']:.1g}",
        metres(row["neighbours_m"]),
        row["receivers_heard"],
        None if snr is None else f"{snr:.1f} dB",
    )


def _tell_more(rows: Sequence[Json], limit: int, order: str) -> None:
    if len(rows) > limit:
        say(f"[dim]{limit} of {len(rows):,}, {order}; --limit shows more[/]")
