"""What docs/client.md shows is what the client has."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import heimdall_client
from heimdall_client import HeimdallClient
from heimdall_client.operations.binding import Answering, Iterating

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "client.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
EXAMPLES += re.findall(r"```python\n(.*?)```", (ROOT / "client" / "README.md").read_text(), re.DOTALL)
CLIENT = HeimdallClient("http://service.test", "hmd_k")


def calls_of(owner):
    return {
        name
        for kind in type(owner).__mro__
        for name, value in vars(kind).items()
        if isinstance(value, Answering | Iterating)
    }


def test_the_table_names_every_call_and_no_other():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", TEXT, re.MULTILINE))
    told = {owner: set(re.findall(r"`(\w+)`", row.split(":")[0])) for owner, row in rows.items()}
    owners = {name: owner for name, owner in vars(CLIENT).items() if hasattr(owner, "_shell")}
    assert {name: told[name] for name in owners} == {name: calls_of(o) for name, o in owners.items()}
    (own,) = re.findall(r"^\| the client itself \| (.*) \|$", TEXT, re.MULTILINE)
    assert set(re.findall(r"`(\w+)\(", own)) == calls_of(CLIENT)


def test_the_table_of_errors_names_those_that_can_be_imported():
    table = TEXT.partition("| class | when |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([A-Z]\w+)`", table))
    errors = {
        name
        for name in heimdall_client.__all__
        if isinstance(kind := getattr(heimdall_client, name), type)
        and issubclass(kind, heimdall_client.HeimdallError)
    }
    assert named == errors - {"HeimdallError"}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_uses_what_there_is(example):
    compile(example, "example", "exec")
    for names in re.findall(r"from heimdall_client import (.*)", example):
        assert set(re.split(r", *", names.strip())) <= set(heimdall_client.__all__)
    for owner, name in re.findall(r"heimdall\.(\w+)(?:\.(\w+))?\(", example):
        assert getattr(getattr(CLIENT, owner), name) if name else getattr(CLIENT, owner)


def test_the_program_among_the_examples_says_how_it_is_called():
    program = ROOT / "examples" / "train_and_watch.py"
    ran = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr.strip()) == (1, "usage: train_and_watch.py DATASET [EPOCHS]")
    ran = subprocess.run([sys.executable, program, "demo"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr.strip()) == (1, "error: no url was given, and HEIMDALL_URL is not set")
