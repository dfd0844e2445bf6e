import subprocess
import sys

import pytest

from heimdall_core.cli.errors import EXIT_CODES, ExitCode, RequestRefused, ServerUnknown, ServerUnreachable
from heimdall_core.cli.failing import report_failure
from heimdall_core.cli.output import PlainConsole
from heimdall_core.cli.settings_problems import read_settings, required_variables, variable_name
from heimdall_core.domain.errors import InvalidRequest
from heimdall_core.settings import load_settings


def caught(raise_) -> BaseException:
    try:
        raise_()
    except BaseException as error:  # noqa: BLE001 - handed to what is tested
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RequestRefused("no", status=422), ExitCode.FAILED),
        (InvalidRequest("no"), ExitCode.FAILED),
        (ServerUnreachable("no"), ExitCode.NO_SERVICE),
        (ServerUnknown("no"), ExitCode.NO_SERVICE),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
    ],
)
def test_each_end_has_its_exit_code(error, code):
    assert report_failure(error) == code


def test_every_exit_code_is_explained():
    assert set(EXIT_CODES) == set(ExitCode)


def test_missing_settings_are_lines_that_name_variables(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert report_failure(caught(load_settings)) == ExitCode.FAILED
    shown = capsys.readouterr().err
    assert shown.startswith(
        "error: HEIMDALL_DATABASE__URL is missing\n       HEIMDALL_REDIS__URL is missing\n"
    )
    assert "Traceback" not in shown


def test_a_group_that_is_no_json_is_told_without_a_traceback(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEIMDALL_DATABASE", "secret text")
    assert report_failure(caught(read_settings)) == ExitCode.FAILED
    shown = capsys.readouterr().err
    assert '"database"' in shown
    assert "secret text" not in shown


def test_settings_are_named_as_they_are_set():
    assert variable_name(["storage", "raw_bucket"]) == "HEIMDALL_STORAGE__RAW_BUCKET"
    assert required_variables(["redis"]) == ["HEIMDALL_REDIS__URL"]


def test_a_mistake_of_the_program_is_one_line_and_its_traceback_is_kept(capsys, tmp_path):
    (tmp_path / "heimdall-home" / "logs").mkdir(parents=True)
    assert report_failure(caught(lambda: {}["missing"])) == ExitCode.FAILED
    first, hint = capsys.readouterr().err.splitlines()
    (kept,) = (tmp_path / "heimdall-home" / "logs").iterdir()
    assert first == "error: unexpected KeyError: 'missing'"
    assert str(kept) in hint
    assert "Traceback" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


def test_a_traceback_is_kept_even_without_a_state_directory(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    report_failure(caught(lambda: 1 / 0))
    assert len(list(tmp_path.glob("heimdall-crash-*.txt"))) == 1
    assert not (tmp_path / "heimdall-home").exists()


def test_debugging_shows_the_traceback(capsys, monkeypatch):
    monkeypatch.setenv("HEIMDALL_DEBUG", "1")
    report_failure(caught(lambda: 1 / 0))
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_names_between_colons_stay_names(capsys):
    PlainConsole().print('{"uri": "a:car:b"}', markup=False)
    assert capsys.readouterr().out == '{"uri": "a:car:b"}\n'


def test_a_reader_that_has_seen_enough_ends_the_command_quietly():
    program = "from heimdall_core.cli.output import say\nfor n in range(100000): say(f'line {n}')"
    writer = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with writer:
        assert writer.stdout is not None
        assert writer.stderr is not None
        writer.stdout.readline()
        writer.stdout.close()
        assert writer.stderr.read() == ""
    assert writer.returncode == 0
