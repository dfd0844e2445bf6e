"""Settings that cannot be read, told by the names of their ``HEIMDALL_*`` variables, without values."""

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ValidationError
from pydantic_settings import SettingsError

from heimdall_core.cli.errors import SettingsUnusable
from heimdall_core.settings import Settings, load_settings

PREFIX = "HEIMDALL_"


def read_settings() -> Settings:
    """The settings of the environment and of ``.env``.

    Raises:
        SettingsUnusable: some are missing or malformed.
    """
    try:
        return load_settings()
    except (ValidationError, SettingsError) as error:
        raise unusable(error) from error


def unusable(error: ValidationError | SettingsError) -> SettingsUnusable:
    """The error with one line per variable."""
    return SettingsUnusable(list(settings_problems(error)))


def settings_problems(error: ValidationError | SettingsError) -> Iterator[str]:
    """One line for each setting that is missing or wrong."""
    if isinstance(error, SettingsError):
        yield f"a {PREFIX}* variable cannot be read: {error}"
        return
    for problem in error.errors(include_url=False, include_input=False):
        path = [str(part) for part in problem["loc"]]
        if problem["type"] == "missing":
            yield from (f"{name} is missing" for name in required_variables(path))
        elif problem["type"] == "extra_forbidden":
            yield f"{variable_name(path)} is not a setting"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            yield f"{variable_name(path)} is malformed: {message[:1].lower()}{message[1:]}"


def variable_name(path: Sequence[str]) -> str:
    """The variable that sets the member at ``path``."""
    return PREFIX + "__".join(part.upper() for part in path)


def required_variables(path: Sequence[str]) -> list[str]:
    """The variables that must be set for the setting or group at ``path``."""
    field = Settings.model_fields.get(path[0])
    group = field.annotation if field and len(path) == 1 else None
    if not (isinstance(group, type) and issubclass(group, BaseModel)):
        return [variable_name(path)]
    return [
        variable_name([*path, name]) for name, member in group.model_fields.items() if member.is_required()
    ]
