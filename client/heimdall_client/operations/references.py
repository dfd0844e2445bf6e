"""What callers name things by, as the service wants them named."""

from collections.abc import Mapping
from typing import TypeAlias

from heimdall_client.documents.data import Dataset
from heimdall_client.documents.models import DatasetReference, ModelVersion
from heimdall_client.exchanges import Json

VersionReference: TypeAlias = str | Mapping[str, object] | Dataset | DatasetReference | ModelVersion
"""``"name"``, ``"name/3"``, ``{"name": ..., "version": ...}``, or a document that has both."""


def version_reference(named: VersionReference) -> Json:
    """A dataset or a model, and which version of it if one is named.

    Raises:
        ValueError: the text is neither ``NAME`` nor ``NAME/VERSION``.
    """
    if isinstance(named, Mapping):
        return dict(named)
    if not isinstance(named, str):
        return {"name": named.name, "version": named.version}
    name, slash, version = named.partition("/")
    if not name or (slash and not (version.isascii() and version.isdecimal())):
        raise ValueError(f"{named!r} is not NAME or NAME/VERSION")
    return {"name": name} | ({"version": int(version)} if slash else {})


def given(**members: object) -> Json:
    """The members that are not None: the others are left to the service's defaults."""
    return {name: value for name, value in members.items() if value is not None}
