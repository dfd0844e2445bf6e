"""What a job or a model version comes from, and what came of it: a walk over rows, level by level."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Row, Select, or_, select, tuple_
from sqlalchemy.orm import Session

from heimdall_core.database.arrays import any_texts
from heimdall_core.database.catalogue_tables import ModelVersion
from heimdall_core.database.job_tables import Job
from heimdall_core.jobs.queries import find_job, wire_time

MAX_NODES = 500
Relation = Literal["parent", "weights", "init_from", "exported", "evaluated", "dataset", "registered"]
_USES: dict[str, Relation] = {"train": "init_from", "export": "exported", "evaluate": "evaluated"}


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """A thing that takes part."""

    kind: Literal["job", "model_version", "dataset_version"]
    name: str
    """Of a job its id; else ``name/version``."""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """The target was made with the source."""

    source: Ref
    target: Ref
    relation: Relation


@dataclass(slots=True)
class _Walk:
    """What has been met in one direction."""

    session: Session
    owner: str | None
    rows: dict[Ref, dict[str, Any]] = field(default_factory=dict)
    links: set[Link] = field(default_factory=set)
    is_truncated: bool = False

    def go(self, start: Ref, *, forward: bool) -> None:
        """Follows every link from the start until nothing new is met."""
        frontier, seen = [start], {start}
        while frontier:
            origins = self._load(frontier)
            step = self._forward(frontier) if forward else origins
            self.links.update(step)
            ahead = {link.target if forward else link.source for link in step}
            room = MAX_NODES - len(seen)
            frontier = sorted(ahead - seen)
            self.is_truncated |= len(frontier) > room
            frontier = frontier[:room]
            seen.update(frontier)

    def _load(self, refs: Collection[Ref]) -> list[Link]:
        """Keeps the rows; returns what leads to them."""
        links: list[Link] = []
        for job in self._jobs(_named(refs, "job")):
            self.rows[_ref_of(job)] = _describe_job(job, self.owner)
            links += _origins(job)
        for version in self._versions(_named(refs, "model_version")):
            ref = Ref("model_version", f"{version.name}/{version.version}")
            self.rows[ref] = _describe_version(version)
            links.append(Link(Ref("job", version.job_id), ref, "registered"))
        for ref in refs:
            if ref.kind == "dataset_version":
                self.rows[ref] = _describe_dataset(ref)
        return links

    def _jobs(self, ids: Sequence[str]) -> Sequence[Row[*tuple[Any, ...]]]:
        return self.session.execute(_jobs().where(Job.id == any_texts(ids))).all() if ids else ()

    def _versions(self, names: Sequence[str]) -> Sequence[ModelVersion]:
        keys = [(name, int(number)) for name, _, number in (n.rpartition("/") for n in names)]
        if not keys:
            return ()
        wanted = tuple_(ModelVersion.name, ModelVersion.version).in_(keys)
        return self.session.scalars(select(ModelVersion).where(wanted)).all()

    def _forward(self, refs: Collection[Ref]) -> list[Link]:
        """What was made with them."""
        jobs, versions = _named(refs, "job"), _named(refs, "model_version")
        made = or_(Job.parent_job_id == any_texts(jobs), Job.source_model == any_texts(versions))
        children = self.session.execute(_jobs().where(made).limit(MAX_NODES)).all()
        links = [link for child in children for link in _origins(child) if link.source in refs]
        registered = select(ModelVersion).where(ModelVersion.job_id == any_texts(jobs))
        for version in self.session.scalars(registered):
            target = Ref("model_version", f"{version.name}/{version.version}")
            links.append(Link(Ref("job", version.job_id), target, "registered"))
        return links


def job_lineage(session: Session, job_id: str, *, owner: str | None) -> dict[str, Any]:
    """Ancestors and descendants of a job.

    Raises:
        NotFound: no such job, or another owner's.
    """
    find_job(session, job_id, owner=owner)
    return _lineage(session, Ref("job", job_id), owner)


def version_lineage(session: Session, name: str, version: int, *, owner: str | None) -> dict[str, Any]:
    """Ancestors and descendants of a model version that there is; other owners' jobs are named, not told."""
    return _lineage(session, Ref("model_version", f"{name}/{version}"), owner)


def _lineage(session: Session, start: Ref, owner: str | None) -> dict[str, Any]:
    ancestors, descendants = _Walk(session, owner), _Walk(session, owner)
    ancestors.go(start, forward=False)
    descendants.go(start, forward=True)
    links = ancestors.links | descendants.links
    rows = ancestors.rows | descendants.rows
    return {
        "of": str(start),
        "nodes": [{"id": str(ref), "type": ref.kind, **rows[ref]} for ref in sorted(rows)],
        "edges": [
            {"source": str(link.source), "target": str(link.target), "relation": link.relation}
            for link in sorted(links)
            if link.source in rows and link.target in rows
        ],
        "is_truncated": ancestors.is_truncated or descendants.is_truncated,
    }


def _jobs() -> Select[*tuple[Any, ...]]:
    return select(
        Job.id,
        Job.kind,
        Job.status,
        Job.owner,
        Job.created_at,
        Job.parent_job_id,
        Job.source_model,
        Job.spec["dataset"]["name"].as_string().label("dataset"),
        Job.spec["dataset"]["version"].as_string().label("dataset_version"),
    )


def _origins(job: Row[*tuple[Any, ...]]) -> Iterator[Link]:
    """What the job was made with."""
    target = _ref_of(job)
    if job.parent_job_id is not None:
        yield Link(Ref("job", job.parent_job_id), target, "weights" if job.kind == "export" else "parent")
    if job.source_model is not None:
        yield Link(Ref("model_version", job.source_model), target, _USES[job.kind])
    if job.dataset is not None:
        yield Link(Ref("dataset_version", f"{job.dataset}/{job.dataset_version}"), target, "dataset")


def _ref_of(job: Row[*tuple[Any, ...]]) -> Ref:
    return Ref("job", job.id)


def _named(refs: Collection[Ref], kind: str) -> list[str]:
    return [ref.name for ref in refs if ref.kind == kind]


def _describe_job(job: Row[*tuple[Any, ...]], owner: str | None) -> dict[str, Any]:
    if owner is not None and job.owner != owner:
        return {"kind": job.kind, "status": None, "created_at": None, "link": None}
    created_at = wire_time(job.created_at)
    return {
        "kind": job.kind,
        "status": job.status,
        "created_at": created_at,
        "link": f"/v1/jobs/{job.id}",
    }


def _describe_version(row: ModelVersion) -> dict[str, Any]:
    link = f"/v1/models/{row.name}/versions/{row.version}"
    return {"kind": row.origin, "status": None, "created_at": wire_time(row.created_at), "link": link}


def _describe_dataset(ref: Ref) -> dict[str, Any]:
    name, _, version = ref.name.rpartition("/")
    link = f"/v1/datasets/{name}/versions/{version}"
    return {"kind": None, "status": None, "created_at": None, "link": link}
