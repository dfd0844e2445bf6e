import sys
from pathlib import Path

import pytest
import typer

from heimdall_core.cli import reference
from heimdall_core.cli.errors import EXIT_CODES
from heimdall_core.cli.main import PANELS, app
from heimdall_core.cli.reference import render, stale_lines

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"


def test_the_published_reference_is_that_of_this_program():
    assert stale_lines(PAGE, render()) == [], (
        "run `python -m heimdall_core.cli.reference docs/reference/cli.md`"
    )


def test_every_command_and_option_has_its_place_and_a_meaning():
    page = render()
    commands = dict(walk(typer.main.get_command(app), "heimdall"))
    assert len(commands) > 20
    for path, command in commands.items():
        assert f"# {path}\n\n{' '.join((command.help or '?').split())[:40]}" in page, f"{path} has no help"
        for parameter in command.params:
            if parameter.param_type_name == "option" and not parameter.hidden:
                assert f"`{parameter.opts[0]}`" in page


def walk(command, path):
    for name, member in getattr(command, "commands", {}).items():
        yield f"{path} {name}", member
        yield from walk(member, f"{path} {name}")


def test_every_command_is_in_a_panel():
    placed = [name for names in PANELS.values() for name in names]
    assert sorted(placed) == sorted(typer.main.get_command(app).commands)


def test_exit_codes_are_in_the_reference_and_in_the_help():
    for code, meaning in EXIT_CODES.items():
        assert f"| {int(code)} | {meaning} |" in render()
        assert f"{int(code)} {meaning}" in str(app.info.epilog)


def test_a_stale_page_is_told_with_what_differs(tmp_path, monkeypatch, capsys):
    page = tmp_path / "reference" / "cli.md"
    monkeypatch.setattr(sys, "argv", ["reference", str(page)])
    reference.main()
    monkeypatch.setattr(sys, "argv", ["reference", str(page), "--check"])
    reference.main()
    page.write_text(page.read_text().replace("## heimdall up", "## heimdall uphill"))
    with pytest.raises(SystemExit, match="1"):
        reference.main()
    assert "-## heimdall uphill" in capsys.readouterr().err
