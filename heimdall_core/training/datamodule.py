"""The loaders of a run. They are plain iterables: one process and no threads unless workers are asked for."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import lightning.pytorch as pl
from torch.utils.data import DataLoader

from heimdall_core.domain.spec import TrainingSpec
from heimdall_core.features import FeatureSet
from heimdall_core.training.augmentation import Augmentation
from heimdall_core.training.dataset import Batch, HeimdallDataset, Key
from heimdall_core.training.radio_map import RadioMap, Relocation, fit_radio_map
from heimdall_core.training.sampling import EpochSampler, EvaluationSampler, Share


class KeySampler(Protocol):
    """Yields the keys of one batch after another."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[list[Key]]: ...


class SessionLoader:
    """Batches of a dataset in the order of a sampler."""

    def __init__(self, dataset: HeimdallDataset, sampler: KeySampler, *, num_workers: int = 0) -> None:
        self.dataset = dataset
        self._batches = sampler
        self._num_workers = num_workers

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        if not self._num_workers:
            for keys in self._batches:
                yield self.dataset.__getitems__(keys)
            return
        # Forked, whatever the process's start method: an inherited fork server costs 2 s per epoch.
        yield from DataLoader(
            self.dataset,
            batch_sampler=list(self._batches),
            num_workers=self._num_workers,
            collate_fn=_as_it_is,
            multiprocessing_context="fork",
        )


class TrainingLoader(SessionLoader):
    """A loader that Lightning can save and resume within an epoch."""

    def __init__(self, dataset: HeimdallDataset, sampler: EpochSampler, *, num_workers: int = 0) -> None:
        super().__init__(dataset, sampler, num_workers=num_workers)
        self.sampler = sampler
        self._num_served = 0

    def __iter__(self) -> Iterator[Batch]:
        self._num_served = self.sampler.offset
        for batch in super().__iter__():
            self._num_served += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """How many batches of the epoch are behind."""
        return {"num_served": self._num_served}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on after the batches that were served."""
        self.sampler.offset = state["num_served"]


class HeimdallDataModule(pl.LightningDataModule):
    """The training and validation splits of a feature set; of each training batch, one rank's share."""

    def __init__(
        self, feature_set: FeatureSet, training: TrainingSpec, *, share: Share | None = None
    ) -> None:
        super().__init__()
        self.feature_set = feature_set
        self._training = training
        self._share = share or Share()
        self.train_set = HeimdallDataset(
            feature_set,
            "train",
            training=True,
            seed=training.seed,
            augment=training.augment,
            augmentation=Augmentation(level_db=training.level_noise_db),
        )
        self.val_set = HeimdallDataset(feature_set, "val", training=False)

    def prepare_radio_map(self) -> RadioMap | None:
        """Fits the radio map that the specification wants, once; else None."""
        wanted = self._training.radio_map
        if wanted is None or not self._training.augment:
            return None
        if self.train_set.relocation is None:
            radio_map = fit_radio_map(
                self.feature_set,
                self.feature_set.indices("train"),
                reach_km=wanted.reach_m / 1e3,
                seed=self._training.seed,
                with_grid=wanted.fuse and self._share.rank == 0,
            )
            self.train_set.relocation = Relocation(radio_map=radio_map, share=wanted.share)
        return self.train_set.relocation.radio_map

    @property
    def num_batches(self) -> int:
        """Training batches of an epoch."""
        return math.ceil(len(self.train_set) / self._training.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of an epoch; the last one may see fewer batches."""
        return math.ceil(self.num_batches / self._training.accumulate_grad_batches)

    def sessions_of(self, batch_index: int) -> int:
        """Sessions of a training batch, over all ranks."""
        batch_size = self._training.batch_size
        return min(batch_size, len(self.train_set) - batch_index * batch_size)

    def train_dataloader(self) -> TrainingLoader:
        """Shuffled batches of random segments."""
        self.prepare_radio_map()
        sampler = EpochSampler(
            len(self.train_set), self._training.batch_size, seed=self._training.seed, share=self._share
        )
        return TrainingLoader(self.train_set, sampler, num_workers=self._training.num_workers)

    def val_dataloader(self) -> SessionLoader:
        """All segments of all validation sessions."""
        return evaluation_loader(self.val_set)


def evaluation_loader(dataset: HeimdallDataset) -> SessionLoader:
    """Every session of the dataset once, in order, with all its segments."""
    return SessionLoader(dataset, EvaluationSampler(dataset.num_segments))


def _as_it_is(batch: Sequence[Batch]) -> Sequence[Batch]:
    return batch
