"""The files that images and compose are made of, parsed."""

import ast
import importlib.util
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="session")
def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="session")
def dockerfiles():
    return {name: (ROOT / f"Dockerfile.{name}").read_text() for name in ("api", "worker")}


@pytest.fixture(scope="session")
def command_of(compose, dockerfiles):
    """The command line of a service: compose's, else its image's."""

    def find(service):
        given = compose["services"][service]
        image = given["build"]["dockerfile"].removeprefix("Dockerfile.")
        (default,) = re.findall(r"^CMD (\[.*\])$", dockerfiles[image], re.M)
        return given.get("command") or json.loads(default)

    return find


@pytest.fixture(scope="session")
def load_script():
    """A script of deploy/ as a module."""

    def load(name):
        spec = importlib.util.spec_from_file_location(f"deploy_{name}", ROOT / "deploy" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def heavy_of_the_import_test():
    tree = ast.parse((ROOT / "tests/unit/api/test_imports.py").read_text())
    values = {t.id: n.value for n in ast.walk(tree) if isinstance(n, ast.Assign) for t in n.targets}
    return set(ast.literal_eval(values["HEAVY"]).split())
