"""Training on several devices of one host: each rank computes its share of a batch, the gradients are summed.

The optimizer sees the gradient of the whole batch on every rank, so k devices take the steps of one, up to
the order of floating-point sums. Augmentation is keyed by item; what the network draws at random for a batch
is drawn whole by every rank, which uses its part. The sums are taken over buckets of a fixed layout, whatever
happened before: a resumed run sums in the order of the uninterrupted one.

Lightning sees one device on each rank. Followers validate nothing and write nothing; whether to stop is
decided by rank 0 between two sums, and the followers, which hold no state of their own, are dismissed or
killed.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from heimdall_core.domain.errors import HeimdallError, TrainingError
from heimdall_core.domain.ports import JobStopped
from heimdall_core.domain.spec import TrainingSpec
from heimdall_core.features import FeatureSet
from heimdall_core.networks import LocalizationNet
from heimdall_core.training.datamodule import HeimdallDataModule
from heimdall_core.training.module import LocalizationLightningModule
from heimdall_core.training.network import Construction
from heimdall_core.training.ranks import Dismissed, Ranks, Seat
from heimdall_core.training.sampling import Share
from heimdall_core.training.trainer import Device, create_follower, fit

#: Rank 0 never waits for longer than a step takes; the others wait while it validates or saves.
_LEADER_SECONDS = 600.0
_FOLLOWER_SECONDS = 7 * 86_400.0
_BUCKET_NUMBERS = 2**24
_DRAWS = (torch.rand, torch.randn)
_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a follower needs to train along."""

    construction: Construction
    frozen: frozenset[str]
    """Parameters that are not trained."""
    device: Device
    """Of rank 0."""
    resume_path: Path | None

    @staticmethod
    def of(module: LocalizationLightningModule, device: Device, resume_path: Path | None) -> "Orders":
        """To train as this module is trained."""
        return Orders(
            construction=module.construction,
            frozen=frozenset(n for n, p in module.net.named_parameters() if not p.requires_grad),
            device=device,
            resume_path=resume_path,
        )

    def build(self) -> LocalizationNet:
        """A network of the right shape; its weights are rank 0's from the first step on."""
        net = self.construction.build()
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(name not in self.frozen)
        return net


class Exchange:
    """The sums over all ranks that a step needs.

    Args:
        share: which rank this is.
        sessions_of: the size of a batch, by its index, over all ranks.
    """

    def __init__(self, share: Share, sessions_of: Callable[[int], int]) -> None:
        self.share = share
        self._sessions_of = sessions_of

    def part_of_randomness(self, batch_index: int) -> "PartOfRandomness":
        """Within it, the network draws for the batch, and gets what falls to the rank."""
        num_sessions = self._sessions_of(batch_index)
        return PartOfRandomness(num_sessions, self.share.part(num_sessions))

    def weigh(self, loss: Tensor, batch_index: int) -> Tensor:
        """The rank's mean loss times its share, so that the ranks' gradients add up to the batch's."""
        return loss * self.share.weight(self._sessions_of(batch_index))

    def total(self, weighted_loss: Tensor) -> float:
        """The loss of the whole batch.

        Raises:
            Dismissed: rank 0 has ended the training.
        """
        return self._meet(float(weighted_loss.detach()), is_over=False)

    def dismiss(self) -> None:
        """Rank 0: the training is over; every follower learns it in its next call of ``total``."""
        self._meet(0.0, is_over=True)

    def await_dismissal(self) -> None:
        """A follower that has done all its steps waits for rank 0 to finish its own work."""
        self._meet(0.0, is_over=False)

    def align(self, net: nn.Module) -> None:
        """Gives every rank the weights of rank 0, as they are after a resume."""
        with torch.no_grad():
            for tensor in (*net.parameters(), *net.buffers()):
                dist.broadcast(tensor, src=0)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces every gradient by its sum over the ranks."""
        for bucket in _buckets([p.grad for p in parameters if p.grad is not None]):
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
            dist.all_reduce(flat)
            parts = torch.split(flat, [gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def _meet(self, value: float, *, is_over: bool) -> float:
        numbers = torch.tensor([value, float(is_over)], dtype=torch.float64)
        dist.all_reduce(numbers)
        if numbers[1] and self.share.rank:
            raise Dismissed
        return float(numbers[0])


class PartOfRandomness(TorchFunctionMode):
    """Draws for the whole batch, and gives the rank what falls to its items.

    What ``functional.dropout``, ``torch.rand`` and ``torch.randn`` draw counts as drawn for items where its
    first dimension is their number.
    """

    def __init__(self, num_items: int, part: slice) -> None:
        super().__init__()
        self._num_items = num_items
        self._part = part

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """``func`` as it is, unless it draws."""
        options = kwargs or {}
        if func is functional.dropout and self._is_of_items(args[0].shape):
            x, *rest = args
            return x * self._part_of(func(x.new_ones(self._num_items, *x.shape[1:]), *rest, **options))
        if func in _DRAWS and self._is_of_items(shape := _shape(args)):
            return self._part_of(func((self._num_items, *shape[1:]), **options))
        return func(*args, **options)

    def _is_of_items(self, shape: Sequence[int]) -> bool:
        return len(shape) > 0 and shape[0] == self._part.stop - self._part.start

    def _part_of(self, drawn: Tensor) -> Tensor:
        return drawn[self._part]


def _shape(sizes: tuple[Any, ...]) -> Sequence[int]:
    """Of ``torch.rand((2, 3))`` and of ``torch.rand(2, 3)``."""
    return sizes if not sizes or isinstance(sizes[0], int) else sizes[0]


def lead(ranks: Ranks, orders: Orders) -> None:
    """Rank 0: has the followers build their networks, and meets them.

    Raises:
        TrainingError: there are fewer devices than ranks.
    """
    on_gpu = orders.device.kind == "cuda"
    if on_gpu and (num_devices := torch.cuda.device_count()) < ranks.share.num_ranks:
        raise TrainingError(
            f"resources.devices is {ranks.share.num_ranks}, and {num_devices} GPUs are visible",
            code="too_few_devices",
            hint="Lower resources.devices, make more GPUs visible, or use resources.accelerator cpu.",
        )
    ranks.can_hang = on_gpu
    ranks.order(orders)
    join(ranks.share, ranks.rendezvous, on_gpu=on_gpu)


def fit_together(
    ranks: Ranks,
    device: Device,
    trainer: pl.Trainer,
    module: LocalizationLightningModule,
    data: HeimdallDataModule,
    *,
    resume_path: Path | None = None,
) -> None:
    """Rank 0: trains with the others, which are gone when this returns.

    Raises:
        TrainingError: there are fewer devices than ranks.
        Exception: what ended the training; ``ranks_of`` finds out whether that was the loss of a rank.
    """
    is_over = False
    try:
        lead(ranks, Orders.of(module, device, resume_path))
        module.exchange = Exchange(ranks.share, data.sessions_of)
        fit(trainer, module, data, resume_path=resume_path)
        module.exchange.dismiss()
        is_over = True
    except (HeimdallError, JobStopped):
        # Rank 0 leaves of its own accord: no other need say that it was cut off.
        ranks.close()
        raise
    finally:
        module.exchange = None
        leave(together=is_over)
    ranks.await_end()


def follow(seat: Seat, orders: Orders, features: FeatureSet, training: TrainingSpec, workspace: Path) -> None:
    """Another rank: takes its share of every step until rank 0 has done its last; writes nothing.

    Raises:
        Dismissed: rank 0 has ended the training.
    """
    data = HeimdallDataModule(features, training, share=seat.share)
    module = LocalizationLightningModule(
        orders.build(), training, steps_per_epoch=data.steps_per_epoch, construction=orders.construction
    )
    module.exchange = Exchange(seat.share, data.sessions_of)
    device = replace(orders.device, rank=seat.share.rank)
    seat.ready()
    join(seat.share, seat.rendezvous, on_gpu=device.kind == "cuda")
    try:
        fit(create_follower(training, device, workspace), module, data, resume_path=orders.resume_path)
        module.exchange.await_dismissal()
    except Dismissed:
        leave(together=True)
        raise


def join(share: Share, rendezvous: Path, *, on_gpu: bool) -> None:
    """Meets the other ranks by a file; they talk over the loopback interface, or between devices."""
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, _LOOPBACK)
    seconds = _FOLLOWER_SECONDS if share.rank else _LEADER_SECONDS
    options: dict[str, Any] = {}
    if on_gpu:
        torch.cuda.set_device(share.rank)
        options["device_id"] = torch.device("cuda", share.rank)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        store=dist.FileStore(str(rendezvous), share.num_ranks),  # type: ignore[attr-defined]  # re-exported from C++
        rank=share.rank,
        world_size=share.num_ranks,
        timeout=timedelta(seconds=seconds),
        **options,
    )


def leave(*, together: bool) -> None:
    """Ends this process's part in the sums, if it took any; ``together`` if the others do so too."""
    if not dist.is_initialized():
        return
    if not together and "nccl" in dist.get_backend_config():
        # What is under way will never end: destroying would wait for it.
        dist.distributed_c10d._abort_process_group()  # noqa: SLF001 - no public name
    else:
        dist.destroy_process_group()


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        if bucket and size + gradient.numel() > _BUCKET_NUMBERS:
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.numel()
    if bucket:
        yield bucket
