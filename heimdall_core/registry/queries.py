"""Reading models and their versions."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import Model, ModelVersion
from heimdall_core.database.job_tables import Artifact
from heimdall_core.database.paging import Page, decode_cursor, encode_cursor
from heimdall_core.domain.errors import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOverview:
    """A model, and what a list of models says of its versions."""

    model: Model
    num_versions: int
    newest_version: int
    champion: ModelVersion | None


def list_models(session: Session, *, cursor: str | None, limit: int) -> Page[Model]:
    """Newest first."""
    statement = select(Model).order_by(Model.created_at.desc(), Model.name.desc())
    if cursor:
        statement = statement.where(tuple_(Model.created_at, Model.name) < decode_cursor(cursor))
    rows = session.scalars(statement.limit(limit + 1)).all()
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        items=rows[:limit],
        next_cursor=encode_cursor(last.created_at, last.name) if last is not None else None,
    )


def overview_models(session: Session, models: Sequence[Model]) -> list[ModelOverview]:
    """The models in their order, with their champions and how many versions they have."""
    names = [model.name for model in models]
    counted = select(ModelVersion.name, func.count(), func.max(ModelVersion.version))
    rows = session.execute(counted.where(ModelVersion.name.in_(names)).group_by(ModelVersion.name))
    counts = {name: (number, newest) for name, number, newest in rows}
    crowned = [(model.name, model.champion_version) for model in models if model.champion_version]
    named = select(ModelVersion).where(tuple_(ModelVersion.name, ModelVersion.version).in_(crowned))
    champions = {row.name: row for row in session.scalars(named)}
    return [
        ModelOverview(
            model=model,
            num_versions=counts.get(model.name, (0, 0))[0],
            newest_version=counts.get(model.name, (0, 0))[1],
            champion=champions.get(model.name),
        )
        for model in models
    ]


def find_model(session: Session, name: str) -> Model:
    """The model.

    Raises:
        NotFound: no model has the name.
    """
    model = session.get(Model, name)
    if model is None:
        raise NotFound(f"no model {name!r}", code="model_not_found", hint="GET /v1/models lists them")
    return model


def list_model_versions(session: Session, name: str) -> Sequence[ModelVersion]:
    """Every version, newest first."""
    statement = select(ModelVersion).where(ModelVersion.name == name)
    return session.scalars(statement.order_by(ModelVersion.version.desc())).all()


def find_model_version(session: Session, name: str, version: int) -> ModelVersion:
    """One version.

    Raises:
        NotFound: the model has no such version.
    """
    row = session.get(ModelVersion, (name, version))
    if row is None:
        raise NotFound(
            f"model {name!r} has no version {version}",
            code="model_version_not_found",
            hint=f"GET /v1/models/{name}/versions lists them",
        )
    return row


def list_version_artifacts(session: Session, row: ModelVersion) -> Sequence[Artifact]:
    """Every file that the version's job handed out, by name."""
    statement = select(Artifact).where(Artifact.job_id == row.job_id)
    return session.scalars(statement.order_by(Artifact.name, Artifact.attempt)).all()
