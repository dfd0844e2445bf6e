"""The forms that an Idempotency-Key may have."""

import pytest

from heimdall_core.accounts.idempotency import read_key
from heimdall_core.domain.errors import InvalidRequest


@pytest.mark.parametrize(
    "header", ["", " ", '"', '""', '"open', 'a"b', "a b", '"a\\b"', "é", '"' + "k" * 256 + '"']
)
def test_what_is_no_key_is_refused(header):
    with pytest.raises(InvalidRequest) as refusal:
        read_key(header)
    assert refusal.value.stable_code == "bad_idempotency_key"


@pytest.mark.parametrize(
    ("header", "key"),
    [('"a-b"', "a-b"), ("a-b", "a-b"), ('"two words"', "two words"), (r'"a\"b\\"', 'a"b\\'), (' "k" ', "k")],
)
def test_a_string_and_the_bare_key_name_the_same(header, key):
    assert read_key(header) == key
