# ruff: noqa: INP001 - scripts of the images, no package
"""``python deploy/list_requirements.py EXTRA ...``: what pyproject.toml asks for, one requirement a line.

Lets an image install what the code needs before the code itself is copied into it.
"""

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def list_requirements(project: dict[str, Any], extras: Sequence[str]) -> list[str]:
    """The requirements of the project and of these extras.

    Raises:
        SystemExit: there is no such extra.
    """
    known = project["optional-dependencies"]
    if unknown := set(extras) - set(known):
        raise SystemExit(f"no extra {sorted(unknown)} in pyproject.toml; there are {sorted(known)}")
    return [*project["dependencies"], *(line for extra in extras for line in known[extra])]


if __name__ == "__main__":
    pyproject = tomllib.loads(Path("pyproject.toml").read_text())
    sys.stdout.write("\n".join(list_requirements(pyproject["project"], sys.argv[1:])) + "\n")
