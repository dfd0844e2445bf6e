"""docs/security.md: each line of the threat model names a test that there is."""

import ast
import re
from pathlib import Path

from api.middleware import BODY_BYTES_PER_SECOND, BODY_LIMIT, BODY_SECONDS, UPLOADS_BODY_LIMIT
from api.protocol import HEAD_BYTES, HEAD_SECONDS
from heimdall_core.accounts.principal import SCOPES

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/security.md").read_text()
MODEL = GUIDE.partition("## Threat model")[2].partition("\n## ")[0]
ROWS = [line.strip("|").split(" | ") for line in MODEL.splitlines() if line.startswith("| ")][1:]


def test_each_threat_names_a_test_that_there_is():
    assert len(ROWS) > 30
    missing = []
    for threat, _defence, named in ROWS:
        (reference,) = re.findall(r"`(tests/[\w/]+\.py::\w+)`", named)
        path, _, name = reference.partition("::")
        functions = {
            node.name
            for node in ast.walk(ast.parse((ROOT / path).read_text()))
            if isinstance(node, ast.FunctionDef)
        }
        if name not in functions:
            missing.append(threat.strip())
    assert missing == []


def test_the_table_of_scopes_is_complete():
    callers = GUIDE.partition("| scope | opens |")[2].partition("\n\n")[0]
    first_cells = [line.split("|")[1] for line in callers.splitlines() if line.startswith("| `")]
    assert {scope for cell in first_cells for scope in re.findall(r"`([\w:]+)`", cell)} == SCOPES


def test_the_limits_are_those_of_the_code():
    def seconds(limit):
        return round(BODY_SECONDS + limit / BODY_BYTES_PER_SECOND)

    assert f"| {HEAD_SECONDS:.0f} s, {HEAD_BYTES // 1024} KiB |" in GUIDE
    assert f"| {BODY_LIMIT >> 20} MiB in {seconds(BODY_LIMIT)} s;" in GUIDE
    assert f"{UPLOADS_BODY_LIMIT >> 20} MiB in {seconds(UPLOADS_BODY_LIMIT)} s |" in GUIDE
