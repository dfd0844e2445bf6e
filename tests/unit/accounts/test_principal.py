"""What a key may do."""

import pytest

from heimdall_core.accounts.keys import KEY_PATTERN, ensure_key, make_key
from heimdall_core.accounts.principal import Principal
from heimdall_core.domain.errors import Forbidden


def principal(*scopes):
    return Principal(owner="ann", key_id="key_1", scopes=frozenset(scopes))


def test_a_missing_scope_is_forbidden_and_named():
    with pytest.raises(Forbidden, match="jobs:write"):
        principal("jobs:read").require("jobs:write")


def test_an_admin_has_every_scope_and_sees_everybody():
    admin = principal("admin")
    admin.require("jobs:write")
    assert admin.visible_owner is None
    assert principal("jobs:read").visible_owner == "ann"


def test_new_keys_differ_and_have_the_form():
    keys = {make_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(KEY_PATTERN.fullmatch(key) for key in keys)


@pytest.mark.parametrize("key", ["", "hmd_", "abc_" + "0" * 40, "hmd_" + "0" * 40 + "\n"])
def test_what_has_not_the_form_of_a_key_is_not_registered(key):
    with pytest.raises(ValueError, match="hmd_"):
        ensure_key(None, key, owner="ann", name="test")


def test_an_unknown_scope_is_not_granted():
    with pytest.raises(ValueError, match="jobs:own"):
        ensure_key(None, make_key(), owner="ann", name="test", scopes=["jobs:own"])
