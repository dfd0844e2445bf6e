"""The names that a version of a model goes by."""

from heimdall_core.database.catalogue_tables import Model

CHAMPION = "champion"
PREVIOUS = "previous"


def aliases_of(model: Model, version: int) -> list[str]:
    """``champion``: the version in use; ``previous``: the one that a rollback brings back."""
    named = {CHAMPION: model.champion_version, PREVIOUS: model.previous_version}
    return [alias for alias, number in named.items() if number == version]
