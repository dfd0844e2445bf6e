"""Likelihood of the levels that receivers measure, the transmitter's power integrated out.

Given place and power the receivers are independent. One that heard has a Gaussian about ``median + power``;
one that is silent was off or the signal too weak: ``p_missing + (1 - p_missing) P(SNR < threshold)``.
The integral over the power is a sum over equidistant nodes (the trapezium rule, which converges
faster than any power of the step for such integrands), and for sessions of one pattern of silence the sum
is a matrix product: what depends on the session times what depends on the place.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from heimdall_core.simulation.link_budget import EIRP_SIGMA_DB, HEARING_THRESHOLD_DB, MISSING_PROBABILITY

Float = NDArray[np.float64]

_REACH_SIGMAS: Final = 6.0
_STEP_SIGMAS: Final = 0.9
"""Step over the narrowest posterior of the power: the rule's relative error is then below 1e-6."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LevelLikelihood:
    """Of P places. All values lack the same factor, which depends on who heard but not on place or level."""

    median_db: Float
    """(P, R) SNR expected at the mean power."""
    sigma_db: float
    """Of the level about it, independent for each receiver."""

    @cached_property
    def powers_db(self) -> Float:
        """Nodes of the power about its mean, (K,)."""
        num_receivers = self.median_db.shape[1]
        narrowest = (EIRP_SIGMA_DB**-2 + num_receivers * self.sigma_db**-2) ** -0.5
        num_steps = int(np.ceil(_REACH_SIGMAS * EIRP_SIGMA_DB / (_STEP_SIGMAS * narrowest)))
        reach = _REACH_SIGMAS * EIRP_SIGMA_DB
        return np.linspace(-reach, reach, 2 * num_steps + 1)

    @cached_property
    def log_prior(self) -> Float:
        """Logarithm of each node's probability, (K,)."""
        log_weight = -0.5 * np.square(self.powers_db / EIRP_SIGMA_DB)
        return np.asarray(log_weight - np.log(np.exp(log_weight).sum()))

    @cached_property
    def _log_silence(self) -> NDArray[np.float32]:
        """Of each receiver at each place and power, (R, P, K)."""
        (P, R), K = self.median_db.shape, len(self.powers_db)
        table = np.empty((R, P, K), np.float32)
        for receiver in range(R):
            level = self.median_db[:, receiver, np.newaxis] + self.powers_db
            table[receiver] = np.log(silence_probability(level, self.sigma_db))
        return table

    def of_pattern(self, snr_db: Float, is_heard: NDArray[np.bool_]) -> Float:
        """Log likelihood of every place for B sessions in which the same receivers heard: (B, P).

        Args:
            snr_db: (B, R) levels; those of silent receivers are not looked at.
            is_heard: (R,).
        """
        level = snr_db[:, is_heard]
        median = self.median_db[:, is_heard]
        centre = float(level.sum(axis=1).mean())
        variance = self.sigma_db**2
        session = np.exp((level.sum(axis=1) - centre)[:, np.newaxis] * self.powers_db / variance)
        place, largest = self._place_terms(is_heard, centre - median.sum(axis=1))
        distance = (level**2).sum(axis=1)[:, np.newaxis] - 2.0 * level @ median.T + (median**2).sum(axis=1)
        log_power = np.log(session @ place.T)
        return np.asarray(log_power + largest - 0.5 * distance / variance)

    def _place_terms(self, is_heard: NDArray[np.bool_], surplus_db: Float) -> tuple[Float, Float]:
        """The integrand at each place and power, (P, K), over its largest value, whose logarithm is (P,)."""
        variance = self.sigma_db**2
        powers = self.powers_db
        log_terms = surplus_db[:, np.newaxis] * (powers / variance)
        log_terms += self.log_prior - 0.5 * is_heard.sum() * powers**2 / variance
        for receiver in np.flatnonzero(~is_heard):
            log_terms += self._log_silence[receiver]
        largest = log_terms.max(axis=1)
        log_terms -= largest[:, np.newaxis]
        return np.exp(log_terms, out=log_terms), largest

    def of_pairs(self, snr_db: Float, is_heard: NDArray[np.bool_]) -> Float:
        """Log likelihood of place i for session i, written out: (P, R), (P, R) -> (P,)."""
        level = self.median_db[:, :, np.newaxis] + self.powers_db
        log_heard = -0.5 * np.square(
            (np.where(is_heard, snr_db, 0.0)[:, :, np.newaxis] - level) / self.sigma_db
        )
        log_silent = np.log(silence_probability(level, self.sigma_db))
        log_joint = np.where(is_heard[:, :, np.newaxis], log_heard, log_silent).sum(axis=1) + self.log_prior
        largest = log_joint.max(axis=1)
        return np.asarray(largest + np.log(np.exp(log_joint - largest[:, np.newaxis]).sum(axis=1)))


def silence_probability(level_db: Float, sigma_db: float) -> Float:
    """Probability that a receiver with this expected SNR records nothing."""
    too_weak = ndtr((HEARING_THRESHOLD_DB - level_db) / sigma_db)
    return np.asarray(MISSING_PROBABILITY + (1.0 - MISSING_PROBABILITY) * too_weak)
