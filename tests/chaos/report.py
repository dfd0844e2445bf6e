"""What a run says at its end."""

import json
from collections import Counter, defaultdict
from statistics import median

from tests.chaos.run import Outcome
from tests.chaos.trace import Line


def describe(outcome: Outcome) -> str:
    """Jobs, faults by family and kind, recovery times and violations, in lines."""
    faults = [line for line in outcome.lines if line["what"] == "fault"]
    hit = [line for line in faults if line.get("hit", True) not in (False, [])]
    lines = [
        f"seed {outcome.plan.seed}: {sum(outcome.statuses.values())} jobs {dict(outcome.statuses)}",
        f"{len(faults)} faults injected, {len(hit)} met their target",
    ]
    by_kind = Counter((line["family"], line["kind"]) for line in faults)
    met = Counter((line["family"], line["kind"]) for line in hit)
    lines += [
        f"  {family:>2} {kind:<32} {count:>3} ({met[family, kind]} met)"
        for (family, kind), count in sorted(by_kind.items())
    ]
    lines.append(f"attempts started: {sum(line['what'] == 'trainer_start' for line in outcome.lines)}")
    lines += _recovery(outcome.lines, faults)
    lines.append(f"violations: {len(outcome.violations)}")
    for rule, count in Counter(v.rule for v in outcome.violations).most_common():
        first = next(v for v in outcome.violations if v.rule == rule)
        lines += [f"  {count} x {rule}", "      " + json.dumps(first.detail, default=str)[:1500]]
    return "\n".join(lines)


def _recovery(lines: list[Line], faults: list[Line]) -> list[str]:
    """From a fault to the next start of a trainer of each job that it cost an attempt."""
    starts: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line["what"] == "trainer_start":
            starts[line["job"]].append(line)
    times: dict[str, list[float]] = defaultdict(list)
    for fault in faults:
        for job, attempt in fault.get("affected", []):
            later = [s["at"] for s in starts[job] if s["attempt"] == attempt + 1 and s["at"] > fault["began"]]
            if later:
                times[fault["kind"]].append(later[0] - fault["began"])
    return ["recovery, from the fault to the next attempt's trainer, seconds: p50 p90 max (n)"] + [
        f"     {kind:<32} {median(v):6.1f} {sorted(v)[min(len(v) - 1, int(0.9 * len(v)))]:6.1f} {max(v):6.1f} ({len(v)})"
        for kind, v in sorted(times.items())
    ]
