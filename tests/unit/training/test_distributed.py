"""Several processes on one training: the same steps as one process takes, and nothing left when it ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from heimdall_core.domain.errors import DataError, InfrastructureError, TrainingError
from heimdall_core.domain.ports import JobStopped
from heimdall_core.domain.spec import RadioMapSpec, TrainingSpec
from heimdall_core.storage import FolderStore
from heimdall_core.training import ranks as ranks_module
from heimdall_core.training.distributed import PartOfRandomness
from heimdall_core.training.ranks import Ranks, Seat, ranks_of
from heimdall_core.training.sampling import EpochSampler, Share
from worker.endings import EXIT_RANK_LOST

#: 12 training sessions: batches of 5, 5 and 2.
TRAINING = TrainingSpec(epochs=3, batch_size=5, seed=1, early_stopping_patience=None)
Weights = Mapping[str, Tensor]
_ALONE = "TESTS_RUN_ALONE"  # HEIMDALL_* are taken from the environment of every test


@pytest.fixture
def train(make_features: Any, run_training: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """A run on the tiny features, in a workspace of its own."""

    def run(name: str, reporter: Any, *, training: TrainingSpec = TRAINING, **options: Any) -> Any:
        store = FolderStore(tmp_path / "store" / name)
        features = options.pop("features", None) or make_features()
        return run_training(
            features, tmp_path / name, reporter=reporter, store=store, training=training, **options
        )

    return run


def largest_difference(one: Weights, other: Weights) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def curve(reporter: Any, name: str) -> list[float]:
    return [values[name] for _, _, values in reporter.points if name in values]


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_several_ranks_take_the_steps_of_one(
    train: Callable[..., Any], make_reporter: Any, num_ranks: int
) -> None:
    alone, together = make_reporter(), make_reporter()
    expected = train("alone", alone)
    found = train("together", together, num_ranks=num_ranks)
    assert found.trainer.global_step == expected.trainer.global_step == 9
    assert largest_difference(found.weights, expected.weights) < 1e-5
    for name in ("train_loss", "val_loss", "val_median_error_m", "grad_norm"):
        assert curve(together, name) == pytest.approx(curve(alone, name), rel=1e-4)
    assert [p.step for p in together.progresses] == [p.step for p in alone.progresses]


def test_gradients_of_accumulated_batches_are_those_of_one_process(
    train: Callable[..., Any], make_reporter: Any
) -> None:
    training = replace(TRAINING, accumulate_grad_batches=2, gradient_clip=None)
    expected = train("alone", make_reporter(), training=training)
    found = train("together", make_reporter(), training=training, num_ranks=2)
    assert largest_difference(found.weights, expected.weights) < 1e-5


def test_every_rank_moves_items_over_the_same_radio_map(
    train: Callable[..., Any], make_reporter: Any, make_features: Any
) -> None:
    features = make_features(60)
    with_map = replace(TRAINING, epochs=2, radio_map=RadioMapSpec(reach_m=5_000.0))
    options = {"features": features, "training": with_map}
    expected = train("alone", make_reporter(), **options).weights
    found = train("together", make_reporter(), num_ranks=2, **options).weights
    assert largest_difference(found, expected) < 1e-5
    unmoved = replace(with_map, radio_map=None)
    assert (
        largest_difference(
            train("unmoved", make_reporter(), **options | {"training": unmoved}).weights, expected
        )
        > 1e-3
    )


def test_the_same_seed_gives_the_same_weights_bit_for_bit(
    train: Callable[..., Any], make_reporter: Any
) -> None:
    one, other = (train(name, make_reporter(), num_ranks=2).weights for name in ("one", "other"))
    assert largest_difference(one, other) == 0.0


@pytest.mark.parametrize("stop_at_step", [4, 6])
def test_a_run_resumed_within_or_between_epochs_equals_the_uninterrupted_one_bit_for_bit(
    train: Callable[..., Any], make_reporter: Any, tmp_path: Path, stop_at_step: int
) -> None:
    expected = train("whole", make_reporter(), num_ranks=2).weights
    stopped = make_reporter(stop_at_step=stop_at_step)
    with pytest.raises(JobStopped):
        train("stopped", stopped, num_ranks=2)
    (tmp_path / "store" / "resumed").symlink_to(tmp_path / "store" / "stopped")
    resumed = train("resumed", make_reporter(), num_ranks=2, resume_from=stopped.checkpoints[-1])
    assert largest_difference(resumed.weights, expected) == 0.0


def test_a_checkpoint_of_two_ranks_goes_on_alone(
    train: Callable[..., Any], make_reporter: Any, tmp_path: Path
) -> None:
    expected = train("whole", make_reporter()).weights
    stopped = make_reporter(stop_at_step=4)
    with pytest.raises(JobStopped):
        train("stopped", stopped, num_ranks=2)
    (tmp_path / "store" / "resumed").symlink_to(tmp_path / "store" / "stopped")
    resumed = train("resumed", make_reporter(), resume_from=stopped.checkpoints[-1])
    assert largest_difference(resumed.weights, expected) < 1e-5


def test_a_request_to_stop_ends_every_rank_and_leaves_a_durable_checkpoint(
    train: Callable[..., Any], make_reporter: Any
) -> None:
    reporter, pids = make_reporter(stop_at_step=4), []
    with pytest.raises(JobStopped):
        train("stopped", reporter, num_ranks=3, on_start=lambda ranks: pids.extend(ranks.pids))
    assert reporter.checkpoints[-1].step == 4
    assert len(pids) == 2
    assert all(is_gone(pid) for pid in pids)


def test_a_request_to_finish_ends_every_rank_with_the_best_weights(
    train: Callable[..., Any], make_reporter: Any
) -> None:
    reporter, pids = make_reporter(finish_at_step=4), []
    run = train("finished", reporter, num_ranks=2, on_start=lambda ranks: pids.extend(ranks.pids))
    assert run.trainer.global_step == 4
    assert run.best.weights
    assert all(is_gone(pid) for pid in pids)


def test_a_killed_rank_is_named_within_seconds_and_none_is_left(
    train: Callable[..., Any], make_reporter: Any
) -> None:
    reporter = make_reporter()
    pids: list[int] = []

    def kill_after_two_steps() -> None:
        while len(reporter.progresses) < 2:
            time.sleep(0.01)
        os.kill(pids[0], signal.SIGKILL)

    def begin(ranks: Ranks) -> None:
        pids.extend(ranks.pids)
        threading.Thread(target=kill_after_two_steps, daemon=True).start()

    endless = replace(TRAINING, epochs=10_000)
    with pytest.raises(InfrastructureError, match=r"rank 1 .* SIGKILL") as raised:
        train("killed", reporter, training=endless, num_ranks=3, on_start=begin)
    assert raised.value.stable_code == "rank_lost"
    assert raised.value.to_info().retryable
    assert all(is_gone(pid) for pid in pids)


def test_a_rank_that_is_killed_before_the_first_step_is_named_too(tmp_path: Path) -> None:
    def wait_for_ever(seat: Seat) -> None:
        seat.await_orders()
        threading.Event().wait()

    def lead() -> None:
        with ranks_of(2, tmp_path, wait_for_ever) as ranks:
            threading.Timer(0.2, os.kill, (ranks.pids[0], signal.SIGKILL)).start()
            ranks.order("go")

    with pytest.raises(InfrastructureError, match="rank 1"):
        lead()


def test_what_a_rank_raises_is_what_the_training_raises(tmp_path: Path) -> None:
    def fail(seat: Seat) -> None:
        seat.await_orders()
        raise DataError("no such features", code="features_gone", hint="build them")

    with pytest.raises(DataError) as raised, ranks_of(3, tmp_path, fail) as ranks:
        ranks.order("go")
    assert (raised.value.stable_code, raised.value.hint) == ("features_gone", "build them")


def test_an_error_of_rank_0_itself_stays_what_it_is_and_no_rank_is_left(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), ranks_of(3, tmp_path, Seat.await_orders) as ranks:
        raise ZeroDivisionError
    assert all(is_gone(pid) for pid in ranks.pids)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_the_device_holds_for_ever_is_left_by_its_own_exit_code(tmp_path: Path) -> None:
    pid = os.fork()
    if not pid:
        ranks_module._HANG_SECONDS = 0.1
        with ranks_of(2, tmp_path, Seat.await_orders) as ranks:
            ranks.can_hang = True
            os.kill(ranks.pids[0], signal.SIGKILL)
            threading.Event().wait()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == ranks_module.EXIT_RANK_LOST == EXIT_RANK_LOST


def test_a_loss_that_is_not_finite_on_one_rank_is_the_error_of_the_training(
    train: Callable[..., Any], make_features: Any, make_reporter: Any, request: pytest.FixtureRequest
) -> None:
    if not os.environ.get(_ALONE):
        _run_alone(request.node.nodeid)
        return
    features = make_features()
    features.inputs[features.first_segment[features.indices("train")[-1]] :] = np.nan
    with pytest.raises(TrainingError) as raised:
        train("nan", make_reporter(), num_ranks=2, features=features)
    assert raised.value.stable_code == "loss_not_finite"


def _run_alone(node_id: str) -> None:
    """As trainers do, in a process that forks before it has threads; those of other tests hold locks."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    command = [sys.executable, "-m", "pytest", node_id, "-n0", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(
        command, env={**environment, _ALONE: "1"}, capture_output=True, text=True, timeout=240, check=False
    )
    assert run.returncode == 0, run.stdout
    assert "1 passed" in run.stdout


def test_one_rank_forks_nobody(tmp_path: Path) -> None:
    with ranks_of(1, tmp_path, Seat.await_orders) as ranks:
        assert isinstance(ranks, Ranks)
        assert (ranks.pids, ranks.share) == ((), Share(0, 1))


@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
def test_the_parts_of_the_ranks_make_up_each_batch(num_ranks: int) -> None:
    whole = list(EpochSampler(11, 4, seed=3))
    parts = [list(EpochSampler(11, 4, seed=3, share=Share(r, num_ranks))) for r in range(num_ranks)]
    for number, batch in enumerate(whole):
        weights = [Share(r, num_ranks).weight(len(batch)) for r in range(num_ranks)]
        assert sum(weights) == pytest.approx(1.0)
        shared = [parts[r][number] for r in range(num_ranks)]
        assert [key for part, weight in zip(shared, weights, strict=True) if weight for key in part] == batch
        assert all(part == batch[:1] for part, weight in zip(shared, weights, strict=True) if not weight)


def test_a_part_of_a_batch_gets_what_is_drawn_for_it_in_the_whole() -> None:
    x = torch.randn(7, 3)

    def draw(x: Tensor) -> list[Tensor]:
        torch.manual_seed(5)
        return [functional.dropout(x, 0.5), torch.rand(x.shape), torch.randn(len(x), 2), torch.rand(4)]

    *whole, other = draw(x)
    with PartOfRandomness(7, slice(2, 5)):
        *part, same = draw(x[2:5])
    assert all(torch.equal(p, w[2:5]) for p, w in zip(part, whole, strict=True))
    assert torch.equal(same, other), "what is not drawn for items is drawn as it was"
