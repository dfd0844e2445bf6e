"""Two versions of a model side by side, and whether their difference is more than luck."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import Model, ModelVersion
from heimdall_core.domain.errors import InvalidRequest
from heimdall_core.registry.bootstrap import Difference, compare_paired
from heimdall_core.registry.contests import Paired, find_paired, missing_evaluations
from heimdall_core.registry.queries import find_model, find_model_version
from heimdall_core.registry.reading import ByteSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What can be said of two versions."""

    model: Model
    versions: tuple[ModelVersion, ModelVersion]
    paired: Paired | None
    """None: they were not measured on the same sessions."""
    differences: tuple[Difference, ...]
    """Empty: there is no session to compare them on."""
    evaluate: tuple[dict[str, Any], ...]
    """Bodies for ``POST /v1/jobs`` after which they can be compared."""


def compare_versions(session: Session, store: ByteSource, name: str, numbers: tuple[int, int]) -> Comparison:
    """Compares two versions on test sessions that both were measured on and neither was fitted to.

    Raises:
        NotFound: there is no such model or version.
        InvalidRequest: it is one version twice.
        StorageUnavailable: what a job wrote of its residuals cannot be read, or has changed.
    """
    model = find_model(session, name)
    if numbers[0] == numbers[1]:
        raise InvalidRequest(
            f"version {numbers[0]} is compared with itself", hint="Name two versions, as in ?versions=3,7."
        )
    first, second = (find_model_version(session, name, number) for number in numbers)
    paired = find_paired(session, store, first, second)
    is_comparable = paired is not None and paired.num_sessions > 0
    return Comparison(
        model=model,
        versions=(first, second),
        paired=paired,
        differences=tuple(compare_paired(*paired.errors)) if paired and is_comparable else (),
        evaluate=() if paired else missing_evaluations(session, first, second),
    )
