"""Names and messages come from archives and metadata that anybody may have made."""

import json

import pytest

from heimdall_core.recordings.refusal import MAX_SHOWN, Refusal, RefusedFile


@pytest.mark.parametrize("odd", ["\ud800", "\0", "\n", "\x1b[2J", "\u202e"])
def test_what_cannot_be_shown_or_stored_is_replaced(odd):
    refused = Refusal("bad_json", f"says {odd}here").of(f"a{odd}.sigmf")
    assert refused.name.isprintable()
    assert refused.message.startswith("says \ufffd")
    assert json.loads(json.dumps(refused.name).encode("utf-8")) == refused.name
    refused.message.encode("utf-8")


def test_a_text_of_any_length_is_cut():
    refused = Refusal("bad_datatype", "x" * 3_000_000).of("n" * 3_000_000)
    assert (len(refused.name), len(refused.message)) == (MAX_SHOWN, MAX_SHOWN)
    assert refused.message.endswith("x...")


def test_a_refusal_that_was_read_again_is_the_same():
    refused = RefusedFile(name="n" * 600, code="empty", message="m" * MAX_SHOWN)
    again = RefusedFile(name=refused.name, code=refused.code, message=refused.message)
    assert again == refused
    assert again.message == "m" * MAX_SHOWN
