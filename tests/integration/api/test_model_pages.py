"""The pages of models: shells for whoever may read models, and nothing that a name could smuggle in."""

import pytest
from sqlalchemy import func

from heimdall_core.database.catalogue_tables import Model

HOSTILE = "<img src=x onerror=alert(1)>"
PATHS = ("/models", "/models/northwest", "/models/northwest/compare?a=1&b=2")


@pytest.fixture
def models(client):
    with client.database.transaction() as session:
        session.add_all(Model(name=name, updated_at=func.now()) for name in ("northwest", HOSTILE))


@pytest.fixture
def sign_in(client):
    def sign_in(*scopes):
        key = client.make_key(*scopes)["Authorization"].removeprefix("Bearer ")
        client.post("/sign-in", data={"key": key})
        client.headers.pop("Authorization", None)

    return sign_in


@pytest.mark.parametrize("path", PATHS)
def test_a_page_of_models_is_for_keys_that_may_read_them(client, models, sign_in, path):
    sign_in("jobs:read")
    refused = client.get(path)
    assert (refused.status_code, "models:read" in refused.text) == (403, True)
    sign_in("models:read")
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/models/southeast", "/models/southeast/compare"])
def test_a_model_that_is_not_there_is_told_on_a_page(client, models, sign_in, path):
    sign_in("models:read")
    answer = client.get(path)
    assert (answer.status_code, "southeast" in answer.text) == (404, True)


@pytest.mark.parametrize("tail", ["", "/compare"])
def test_a_name_is_shown_as_text_whatever_it_holds(client, models, sign_in, tail):
    sign_in("models:read")
    page = client.get(f"/models/{HOSTILE}{tail}")
    assert page.status_code == 200
    assert "<img" not in page.text
    assert 'data-name="&lt;img src=x onerror=alert(1)&gt;"' in page.text
