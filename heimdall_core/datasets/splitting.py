"""Dividing sessions into train, val and test by whole units. Pure: no database.

Neighbouring positions leak, so a unit (spatial block, group or source) is never divided. Units are drawn
in an order that depends on the seed and the unit's label alone, so the same request gives the same split.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from heimdall_core.datasets.definition import SplitSpec
from heimdall_core.domain.errors import FieldProblem, InvalidRequest
from heimdall_core.domain.manifest import Split


def block_label(east_km: float, north_km: float, *, block_km: float) -> str:
    """The square of the plane that a point lies in, named by its south-west corner in blocks."""
    return f"e{math.floor(east_km / block_km)}n{math.floor(north_km / block_km)}"


def split_units(units: Sequence[str], spec: SplitSpec) -> dict[str, Split]:
    """The split of each unit; ``units`` holds one label per session.

    Raises:
        InvalidRequest: a split would be empty, or a named unit does not exist.
    """
    sizes = Counter(units)
    _check_request(sizes, spec)
    wanted_val = spec.val_fraction * len(units)
    test = _choose(
        sizes,
        named=spec.test_groups,
        reserved=spec.val_groups or (),
        target=spec.test_fraction * len(units),
        leave=1 if spec.val_groups else 2,
        seed=f"{spec.seed}/test",
    )
    rest = {unit: size for unit, size in sizes.items() if unit not in test}
    val = _choose(
        rest, named=spec.val_groups, reserved=(), target=wanted_val, leave=1, seed=f"{spec.seed}/val"
    )
    splits = {unit: _split_of(unit, test, val) for unit in sizes}
    _check_filled(splits, spec)
    return splits


def _split_of(unit: str, test: Collection[str], val: Collection[str]) -> Split:
    if unit in test:
        return "test"
    return "val" if unit in val else "train"


def _choose(
    sizes: Mapping[str, int],
    *,
    named: Sequence[str] | None,
    reserved: Collection[str],
    target: float,
    leave: int,
    seed: str,
) -> frozenset[str]:
    """The named units, or some whose sizes add up as close to ``target`` as any do; ``leave`` units stay."""
    if named is not None:
        return frozenset(named)
    order = _shuffled((unit for unit in sizes if unit not in reserved), seed)
    return draw_units([(unit, sizes[unit]) for unit in order], target=target, leave=leave)


def _shuffled(units: Iterable[str], seed: str) -> list[str]:
    return sorted(units, key=lambda unit: hashlib.sha256(f"{seed}/{unit}".encode()).digest())


def draw_units(sizes: Sequence[tuple[str, int]], *, target: float, leave: int) -> frozenset[str]:
    """Units whose sizes add up to the reachable sum nearest to ``target``: at least one unit, if any may go.

    ``leave`` units stay: those last in the order, if the best choice would take too many.
    Among equal choices the units that come first in the order win.
    """
    chosen = _nearest_subset(sizes, target)
    if len(sizes) - len(chosen) < leave:
        chosen = _nearest_subset(sizes[: max(len(sizes) - leave, 0)], target)
    return chosen


def _nearest_subset(sizes: Sequence[tuple[str, int]], target: float) -> frozenset[str]:
    """Subset-sum: the reachable sums are the bits of one integer, each with the unit that reached it."""
    reachable, last_unit = 1, {0: -1}
    for index, (_, size) in enumerate(sizes):
        fresh = (reachable << size) & ~reachable
        reachable |= fresh
        while fresh:
            lowest = fresh & -fresh
            last_unit[lowest.bit_length() - 1] = index
            fresh ^= lowest
    total, chosen = _nearest_bit(reachable & ~1, target), set()
    while total:
        unit, size = sizes[last_unit[total]]
        chosen.add(unit)
        total -= size
    return frozenset(chosen)


def _nearest_bit(bits: int, target: float) -> int:
    """The set bit nearest to ``target``, the lower of two; 0 if none is set."""
    goal = max(math.floor(target), 0)
    below = (bits & ((1 << goal + 1) - 1)).bit_length() - 1
    above = bits >> goal + 1
    over = goal + (above & -above).bit_length() if above else -1
    options = [bit for bit in (below, over) if bit > 0]
    return min(options, key=lambda bit: (abs(bit - target), bit), default=0)


def _check_request(sizes: Mapping[str, int], spec: SplitSpec) -> None:
    if spec.test_groups is None and spec.val_groups is None and spec.test_fraction + spec.val_fraction >= 1:
        raise _problem(
            "/split/val_fraction", "test_fraction and val_fraction leave nothing to train on", "lower one"
        )
    for field, names in (("test_groups", spec.test_groups), ("val_groups", spec.val_groups)):
        if absent := sorted(set(names or ()) - set(sizes)):
            raise _problem(
                f"/split/{field}",
                f"no approved session of the query belongs to {', '.join(absent[:5])}",
                f"use some of: {', '.join(sorted(sizes)[:20])}",
            )
    if both := sorted(set(spec.test_groups or ()) & set(spec.val_groups or ())):
        raise _problem(
            "/split/val_groups", f"{', '.join(both[:5])} would be in two splits", "name each unit once"
        )


def _check_filled(splits: Mapping[str, Split], spec: SplitSpec) -> None:
    for split in ("train", "val", "test"):
        if split not in splits.values():
            raise _problem(
                "/split",
                f"the {split} split would be empty: the sessions make up {len(splits)} {_unit_word(spec)}",
                _remedy(spec),
            )


def _unit_word(spec: SplitSpec) -> str:
    return {"spatial_block": f"blocks of {spec.block_km:g} km", "group": "groups", "source": "sources"}[
        spec.strategy
    ]


def _remedy(spec: SplitSpec) -> str:
    if spec.strategy == "spatial_block":
        return "use a smaller block_km, or import sessions from more places"
    return "leave units for every split, or import sessions of more sources or groups"


def _problem(pointer: str, message: str, remedy: str) -> InvalidRequest:
    problem = FieldProblem(pointer=pointer, detail=f"{message}; {remedy}")
    return InvalidRequest(message, problems=(problem,), hint=remedy, code="bad_split")
