"""``python -m tests.chaos``: injects faults into the running service and checks the promise."""

import argparse
import shutil
import sys
from pathlib import Path

from tests.chaos.report import describe
from tests.chaos.run import Plan, run

FOLDER = Path("/tmp/heimdall-chaos")
#: The part that runs with every change: five minutes.
SLICE = {"jobs": 60, "faults": 60, "minutes": 3.5}
#: Workers alone break the promise then, and nothing but the fence keeps it: their clocks say that all is well.
ABLATION_KINDS = ("frozen_before_its_end",)
ABLATION = {"seed": 6, "jobs": 60, "faults": 24, "minutes": 3.0}


def main() -> int:
    """Returns the exit status: 0 if the promise held (with ``--ablation``: if it was seen to break)."""
    options = _parse()
    plan = Plan(
        seed=options.seed,
        jobs=options.jobs,
        faults=options.faults,
        seconds=options.minutes * 60,
        kinds=tuple(options.only or (ABLATION_KINDS if options.ablation else ())),
        is_fenced=not options.ablation,
    )
    outcome = run(plan, options.folder)
    sys.stdout.write(describe(outcome) + "\n")
    if outcome.violations or options.keep:
        sys.stdout.write(f"trace, logs and data are in {options.folder}\n")
    else:
        shutil.rmtree(options.folder)
    return int(bool(outcome.violations) == (not options.ablation))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--jobs", type=int, default=320)
    parser.add_argument("--faults", type=int, default=320)
    parser.add_argument("--only", nargs="*", help="kinds of faults")
    parser.add_argument("--slice", action="store_true", help="five minutes, for every change")
    parser.add_argument("--ablation", action="store_true", help="without the fence: must find violations")
    parser.add_argument(
        "--folder", type=Path, default=FOLDER, help="made anew; removed after a run without violations"
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder whatever the run found")
    options = parser.parse_args()
    if options.folder.exists() and not (options.folder / "armed").is_dir():
        parser.error(f"{options.folder} is not the folder of an earlier run: name one that is absent")
    for name, value in (SLICE if options.slice else ABLATION if options.ablation else {}).items():
        setattr(options, name, value)
    return options


if __name__ == "__main__":
    sys.exit(main())
