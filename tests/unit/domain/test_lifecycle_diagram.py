"""The diagram that people read and the table that the code obeys are the same."""

import re
from pathlib import Path

from heimdall_core.domain.job import TRANSITIONS, JobStatus

PAGE = Path(__file__).parents[3] / "docs" / "job-lifecycle.md"


def test_the_diagram_shows_exactly_the_transitions_of_the_table() -> None:
    arrows = re.findall(r"^    (\S+) --> (\S+?)(?::|$)", PAGE.read_text(), re.MULTILINE)
    drawn = {(before, after) for before, after in arrows if "[*]" not in (before, after)}
    assert drawn == {(before, after) for before, targets in TRANSITIONS.items() for after in targets}


def test_the_diagram_ends_where_the_table_ends() -> None:
    arrows = re.findall(r"^    (\S+) --> (\S+?)(?::|$)", PAGE.read_text(), re.MULTILINE)
    ends = {before for before, after in arrows if after == "[*]"}
    assert ends == {status for status in JobStatus if status.is_terminal}
