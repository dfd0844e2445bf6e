"""How much each receiver contributes: the metrics of the same sessions with its plane taken away."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from heimdall_core.evaluation.breakdowns import Truth
from heimdall_core.evaluation.metrics import Float, Predictions, error_m
from heimdall_core.features.feature_set import FeatureSet

Float32 = NDArray[np.float32]
Places = NDArray[np.int64]

MAX_SESSIONS: Final = 500
#: Segments that are predicted again, over all receivers.
_MAX_SEGMENTS = 12_500
_FEWEST_SESSIONS = 50
_CHUNK = 32
METRICS: Final = ("mean_error_m", "median_error_m", "rmse_m", "nll_per_m2")

SegmentPredictor = Callable[[Float32, Places], Predictions]
"""(inputs (S, R, 128, 32), first segment of each session and the end (B + 1,)) -> B predictions."""
OnProgress = Callable[[float], None]
"""Told the share that is done, often; what it raises ends the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverRemoved:
    """What becomes of the model's metrics if one receiver is absent."""

    receiver: str
    num_heard: int
    """Sessions of the sample that it heard."""
    num_sessions: int
    """Sessions of the sample that some receiver still hears: those that the metrics are of."""
    metrics: Mapping[str, float] | None
    """Without it; None: nobody else heard anything."""
    change: Mapping[str, float] | None
    """Without it less with it, on the same sessions: positive means that it helps."""
    mean_error_change_95_m: tuple[float, float] | None
    """95 % interval of the change of the mean error, from the sessions' paired differences."""

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ablation:
    """A sample of a split, and its predictions without each receiver in turn."""

    chosen: Places
    """(M,): the sampled sessions' places in the split."""
    without: tuple[Predictions, ...]
    """One for each receiver, M each; sessions that it did not hear keep their predictions."""


def remove_receivers(
    features: FeatureSet,
    places: Places,
    predictions: Predictions,
    predict: SegmentPredictor,
    on_progress: OnProgress = lambda _: None,
) -> Ablation:
    """Predicts a sample of the sessions at ``places`` without each receiver: its plane zeros, presence 0.

    The sample is fixed by the dataset: at most 500 sessions, fewer where receivers and segments are many.

    Args:
        features: the dataset version.
        places: N sessions.
        predictions: of these N sessions, with all receivers.
        predict: the model.
        on_progress: told after every few predictions.
    """
    chosen = _sample(features, places)
    sessions = places[chosen]
    without = [_copied(predictions.take(chosen)) for _ in range(features.num_receivers)]
    for start in range(0, len(chosen), _CHUNK):
        part = slice(start, start + _CHUNK)
        inputs, first = _segments(features, sessions[part])
        heard = ~np.isnan(features.snr_db[sessions[part]])
        for receiver, target in enumerate(without):
            on_progress((start + _CHUNK * receiver / len(without)) / len(chosen))
            affected = np.flatnonzero(heard[:, receiver] & (heard.sum(axis=1) > 1))
            if len(affected):
                _put(target, start + affected, predict(*_without(inputs, first, affected, receiver)))
    return Ablation(chosen=chosen, without=tuple(without))


def by_receiver_removed(
    ablation: Ablation, names: Sequence[str], predictions: Predictions, truth: Truth
) -> list[ReceiverRemoved]:
    """The metrics of an ablation beside those of the same sessions with all receivers."""
    heard = ~np.isnan(truth.snr_db[ablation.chosen])
    return [
        _compare(name, heard, receiver, ablation, predictions, truth) for receiver, name in enumerate(names)
    ]


def _compare(
    name: str,
    heard: NDArray[np.bool_],
    receiver: int,
    ablation: Ablation,
    predictions: Predictions,
    truth: Truth,
) -> ReceiverRemoved:
    left = np.flatnonzero(np.delete(heard, receiver, axis=1).any(axis=1))
    metrics = change = interval = None
    if len(left):
        members = ablation.chosen[left]
        place = truth.latitude[members], truth.longitude[members]
        without, full = ablation.without[receiver].take(left), predictions.take(members)
        metrics = _metrics(without, truth, members)
        before = _metrics(full, truth, members)
        change = {key: metrics[key] - before[key] for key in METRICS}
        interval = _interval(error_m(without, *place) - error_m(full, *place))
    return ReceiverRemoved(
        receiver=name,
        num_heard=int(heard[:, receiver].sum()),
        num_sessions=len(left),
        metrics=metrics,
        change=change,
        mean_error_change_95_m=interval,
    )


def _metrics(predictions: Predictions, truth: Truth, members: Places) -> dict[str, float]:
    found = truth.evaluate_these(predictions, members)
    return {key: found[key] for key in METRICS}


def _interval(difference: Float) -> tuple[float, float]:
    """Mean less and plus 1.96 standard errors."""
    mean = float(difference.mean())
    margin = 1.96 * float(difference.std()) / float(np.sqrt(len(difference)))
    return mean - margin, mean + margin


def _sample(features: FeatureSet, places: Places) -> Places:
    per_session = float(np.mean(features.first_segment[places + 1] - features.first_segment[places]))
    affordable = int(_MAX_SEGMENTS / (per_session * features.num_receivers))
    wanted = min(MAX_SESSIONS, max(_FEWEST_SESSIONS, affordable), len(places))
    return np.sort(np.random.default_rng(0).choice(len(places), wanted, replace=False))


def _segments(features: FeatureSet, sessions: Places) -> tuple[Float32, Places]:
    """The segments of some sessions, and where each session's begin."""
    ranges = [np.arange(*features.first_segment[i : i + 2]) for i in sessions]
    first = np.concatenate([[0], np.cumsum([len(r) for r in ranges])]).astype(np.int64)
    return np.asarray(features.inputs[np.concatenate(ranges)]), first


def _without(inputs: Float32, first: Places, affected: Places, receiver: int) -> tuple[Float32, Places]:
    """The segments of the ``affected`` sessions alone, with one plane zero."""
    ranges = [np.arange(first[i], first[i + 1]) for i in affected]
    removed = inputs[np.concatenate(ranges)]
    removed[:, receiver] = 0.0
    return removed, np.concatenate([[0], np.cumsum([len(r) for r in ranges])]).astype(np.int64)


def _copied(predictions: Predictions) -> Predictions:
    return Predictions(**{name: getattr(predictions, name).copy() for name in Predictions.__slots__})


def _put(target: Predictions, places: Places, values: Predictions) -> None:
    for name in Predictions.__slots__:
        getattr(target, name)[places] = getattr(values, name)
