"""What there is to check: the local stack, a deployment by its settings, or a service elsewhere."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource, SettingsError

from heimdall_core.cli.settings_problems import settings_problems
from heimdall_core.embedded.home import Home, StackState, default_home
from heimdall_core.embedded.object_store import ObjectStoreEngine
from heimdall_core.embedded.ports import LOOPBACK
from heimdall_core.embedded.postgres import PostgresEngine
from heimdall_core.embedded.program import Engine
from heimdall_core.embedded.stack import PREFERRED_PORTS, engine_settings
from heimdall_core.embedded.valkey import ValkeyEngine
from heimdall_core.settings import Settings

ENGINE_VARIABLES: Final = ("HEIMDALL_DATABASE__URL", "HEIMDALL_REDIS__URL", "HEIMDALL_STORAGE__ACCESS_KEY_ID")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Everything that a diagnosis looks at."""

    title: str
    folders: Mapping[str, Path] = field(default_factory=dict)
    """By the setting that names each."""
    settings: Settings | None = None
    problems: tuple[str, ...] = ()
    """Settings that cannot be read."""
    api_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    api_setting: str = "HEIMDALL_URL"
    home: Home | None = None
    """Of a local stack."""
    state: StackState = field(default_factory=StackState)


def find_surroundings(home: Path | None) -> Surroundings:
    """What ``home`` names, else what the environment does, else the local stack of the default folder.

    A stack that runs with one engine replaced is still a local stack.
    """
    place = Home(home.expanduser().resolve() if home else default_home())
    state = place.read_state()
    given = given_variables()
    num_engines = sum(name in given for name in ENGINE_VARIABLES)
    if home or not (num_engines or os.environ.get("HEIMDALL_URL")):
        return local_stack(place, state)
    if not num_engines:
        return elsewhere()
    if num_engines < len(ENGINE_VARIABLES) and state.is_running:
        return local_stack(place, state)
    return deployment()


def given_variables() -> frozenset[str]:
    """Names of the settings in the environment and in ``.env``, whatever their case."""
    sources = (EnvSettingsSource(Settings), DotEnvSettingsSource(Settings))
    return frozenset(name.upper() for source in sources for name, value in source.env_vars.items() if value)


def elsewhere() -> Surroundings:
    """A service of which this machine is only a client."""
    return Surroundings(
        title="the service that HEIMDALL_URL names, as its client",
        api_url=os.environ.get("HEIMDALL_URL"),
        api_key=os.environ.get("HEIMDALL_API_KEY"),
    )


def deployment() -> Surroundings:
    """What the settings of this process name."""
    title = "the services that HEIMDALL_* settings name"
    url, key = os.environ.get("HEIMDALL_URL"), os.environ.get("HEIMDALL_API_KEY")
    try:
        settings = Settings()
    except (ValidationError, SettingsError) as error:
        problems = tuple(settings_problems(error))
        return Surroundings(title=title, problems=problems, api_url=url, api_key=key)
    folders = {"HEIMDALL_HOME": settings.home, "HEIMDALL_CACHE_DIR": settings.cache_dir}
    return Surroundings(title=title, settings=settings, folders=folders, api_url=url, api_key=key)


def local_stack(place: Home, state: StackState) -> Surroundings:
    """The stack of a state directory, running or not."""
    running = state.is_running
    return Surroundings(
        title=f"the local stack in {place.root}",
        home=place,
        state=state,
        folders={"HEIMDALL_HOME": place.root, "HEIMDALL_CACHE_DIR": place.root / "cache"},
        settings=_stack_settings(place, state)
        if running and (place.root / "secrets.json").exists()
        else None,
        api_url=state.url if running else None,
        api_key=place.api_key() if running and place.api_key_file.exists() else None,
        api_setting="the state of `heimdall up`",
    )


def _stack_settings(place: Home, state: StackState) -> Settings:
    """What ``up`` told its processes."""
    secrets, ports = place.secrets(), state.ports
    running = {process.name for process in state.processes}
    engines: dict[str, Callable[[], Engine]] = {
        "postgres": lambda: PostgresEngine(home=place, port=ports["postgres"], password=secrets.postgres),
        "valkey": lambda: ValkeyEngine(home=place, port=ports["valkey"], password=secrets.valkey),
        "s3": lambda: ObjectStoreEngine(
            home=place, port=ports["s3"], access_key=secrets.s3_access_key, secret_key=secrets.s3_secret_key
        ),
    }
    variables = {
        n: v for name, make in engines.items() if name in running for n, v in make().environment.items()
    }
    if "mlflow" in running:
        variables["HEIMDALL_TRACKING__URI"] = f"http://{LOOPBACK}:{ports['mlflow']}"
    return settings_of({**variables, **engine_settings(os.environ)})


def settings_of(variables: Mapping[str, str]) -> Settings:
    """Settings from given variables alone."""
    groups: dict[str, dict[str, str]] = {}
    for name, value in variables.items():
        group, _, member = name.removeprefix("HEIMDALL_").lower().partition("__")
        groups.setdefault(group, {})[member] = value
    return Settings.model_validate(groups)


def wanted_ports(state: StackState) -> dict[str, int]:
    """The ports that ``up`` would take first."""
    return {**PREFERRED_PORTS, **state.ports}
