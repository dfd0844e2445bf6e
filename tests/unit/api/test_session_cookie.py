"""What another site makes a browser send is told from what a page of ours does."""

import pytest

from api.session_cookie import require_csrf_token, require_own_page
from heimdall_core.accounts.web_sessions import csrf_token
from heimdall_core.domain.errors import Forbidden

HOST = {"host": "api.test:8080"}


@pytest.mark.parametrize(
    "sent",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://api.test:8080"},
        {"sec-fetch-site": ""},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://api.test:8080.evil.example"},
        {"origin": "http://api.test:8080@evil.example"},
        {"origin": "http://api.test:81"},
        {"origin": "http://sub.api.test:8080"},
    ],
)
def test_what_another_site_asks_for_is_refused(sent):
    with pytest.raises(Forbidden) as refused:
        require_own_page(HOST | sent)
    assert refused.value.stable_code == "csrf_failed"


@pytest.mark.parametrize(
    "sent",
    [
        {"sec-fetch-site": "same-origin", "origin": "https://outside.example"},
        {"sec-fetch-site": "none"},
        {"origin": "http://api.test:8080"},
        {"origin": "https://api.test:8080"},
        {},
    ],
)
def test_a_page_of_ours_and_a_program_are_let_through(sent):
    require_own_page(HOST | sent)


@pytest.mark.parametrize("given", [None, "", "ä", csrf_token("B" * 43), csrf_token("A" * 43)[:-1]])
def test_a_token_that_is_not_that_of_the_session_is_refused(given):
    with pytest.raises(Forbidden):
        require_csrf_token("A" * 43, given)


def test_the_token_of_a_page_does_not_tell_that_of_the_session():
    token = "A" * 43
    require_csrf_token(token, csrf_token(token))
    assert token not in csrf_token(token)
