"""``python -m heimdall_core.tracking``: sends what runs without the service could not send to MLflow."""

import sys

from pydantic import ValidationError
from rich.console import Console

from heimdall_core.domain.errors import TrackingUnavailable
from heimdall_core.tracking.client import is_away
from heimdall_core.tracking.leftovers import find_leftovers
from heimdall_core.tracking.redaction import redact
from heimdall_core.tracking.target import TrackingTarget, local_target

USAGE_STATUS = 2


def main() -> int:
    """Sends everything that no living process holds; the exit status."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        target = local_target()
    except ValidationError as error:
        console.print(f"HEIMDALL_TRACKING__*: {error}", markup=False)
        return USAGE_STATUS
    if target is None:
        console.print("no MLflow is configured: set HEIMDALL_TRACKING__URI", markup=False)
        return USAGE_STATUS
    try:
        num_sent = send_leftovers(target, console)
    except TrackingUnavailable as error:
        console.print(f"{error.message}\n{error.hint}", markup=False)
        return 1
    console.print(f"{num_sent} runs sent to {target.shown_uri}", markup=False)
    return 0


def send_leftovers(target: TrackingTarget, console: Console) -> int:
    """Sends run after run; returns how many. One that cannot be sent is told, and stays.

    Raises:
        TrackingUnavailable: MLflow does not answer; what is left stays.
    """
    num_sent = 0
    for leftover in find_leftovers(target, None, notice=lambda text: console.print(text, markup=False)):
        try:
            while leftover.send_some():
                pass
            num_sent += 1
        except (TrackingUnavailable, OSError) as error:
            if is_away(error):
                raise
            console.print(f"{leftover.name} is left for later: {redact(str(error))}", markup=False)
        finally:
            leftover.close()
    return num_sent


if __name__ == "__main__":
    sys.exit(main())
