"""Whatever goes wrong is told as a problem document."""

import pytest
from pydantic import BaseModel

from api.dependencies import get_caller, open_transaction
from api.middleware import BODY_LIMIT
from api.problems import status_of
from heimdall_core.accounts.principal import Principal
from heimdall_core.domain.errors import (
    Conflict,
    DataError,
    FieldProblem,
    Forbidden,
    HeimdallError,
    InvalidRequest,
    NotFound,
    NotSupportedYet,
    RequestError,
    StorageUnavailable,
    TrackingUnavailable,
    Unauthenticated,
)

KEY = {"Authorization": "Bearer hmd_" + "0" * 40}


@pytest.fixture
def signed_in(app, client):
    app.dependency_overrides[get_caller] = lambda: Principal(
        owner="ann", key_id="key_1", scopes=frozenset({"admin"})
    )
    app.dependency_overrides[open_transaction] = lambda: None
    return client


def problem(response, status, code):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["code"] == code
    assert document["status"] == status
    assert document["type"] == f"/problems/{code}"
    assert document["instance"] == response.request.url.path
    assert document["request_id"] == response.headers["x-request-id"]
    return document


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RequestError("x"), 400),
        (Unauthenticated("x"), 401),
        (Forbidden("x"), 403),
        (NotFound("x"), 404),
        (Conflict("x"), 409),
        (InvalidRequest("x"), 422),
        (NotSupportedYet("x"), 422),
        (DataError("x"), 422),
        (HeimdallError("x"), 500),
        (StorageUnavailable("x"), 503),
        (TrackingUnavailable("x"), 503),
        (ZeroDivisionError("x"), 500),
    ],
)
def test_the_nearest_class_decides_the_status(error, status):
    assert status_of(error) == status


def test_a_call_without_a_key_is_refused(client):
    response = client.get("/v1/jobs")
    problem(response, 401, "missing_key")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("key", ["hmd_short", "secret", "hmd_" + "0" * 19 + "'"])
def test_what_is_no_key_is_refused_without_asking_the_database(client, key):
    response = client.get("/v1/jobs", headers={"Authorization": f"Bearer {key}"})
    assert key not in response.text
    problem(response, 401, "unauthenticated")


def test_a_silent_database_is_a_retryable_503(client):
    response = client.get("/v1/jobs", headers=KEY)
    assert response.headers["retry-after"] == "5"
    assert "127.0.0.1" not in response.text
    problem(response, 503, "database_unavailable")


def test_an_unknown_path_is_a_problem(client):
    assert "/v1/nothing" in problem(client.get("/v1/nothing"), 404, "unknown_path")["detail"]


def test_a_wrong_method_names_the_right_ones(client):
    response = client.delete("/v1/receivers")
    problem(response, 405, "method_not_allowed")
    assert response.headers["allow"]


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
@pytest.mark.parametrize(
    "path", ["/v1/jobs/job_aaaaaaaaaaaaaaaaaaaaaaaa:explode", "/v1/jobs:explode", "/v1/models/m:explode"]
)
def test_an_unknown_action_is_a_problem(signed_in, method, path):
    document = problem(signed_in.request(method, path), 404, "unknown_action")
    assert "'explode'" in document["detail"]


@pytest.mark.parametrize("job_id", ["nonsense", "job_SHOUTING", "job_0", "job_" + "a" * 400])
def test_an_id_of_the_wrong_form_is_not_found(signed_in, job_id):
    problem(signed_in.get(f"/v1/jobs/{job_id}"), 404, "not_found")


def test_every_wrong_field_is_named_once_with_a_remedy(signed_in):
    body = {
        "kind": "train",
        "dataset": {"name": "northwest", "verison": 1},
        "model": {"backbone": "macro"},
        "training": {"epochs": 0},
        "export": {"outputs": [{"opset": 3}]},
    }
    document = problem(signed_in.post("/v1/jobs", json=body), 422, "invalid_request")
    errors = {entry["pointer"]: entry["detail"] for entry in document["errors"]}
    assert set(errors) == {
        "#/dataset/verison",
        "#/model/backbone",
        "#/training/epochs",
        "#/export/outputs/0/opset",
    }
    assert errors["#/dataset/verison"].startswith("unknown field")
    assert "'macro' is not a valid value" in errors["#/model/backbone"]
    assert "'micro'" in errors["#/model/backbone"]
    assert "greater than or equal to 1" in errors["#/training/epochs"]


def test_a_pointer_escapes_what_json_pointers_must(signed_in):
    body = {"kind": "train", "dataset": {"name": "n"}, "a/b~c": 1}
    document = problem(signed_in.post("/v1/jobs", json=body), 422, "invalid_request")
    assert document["errors"][0]["pointer"] == "#/a~1b~0c"


def test_a_kind_of_the_contract_is_not_supported_yet(signed_in):
    document = problem(signed_in.post("/v1/jobs", json={"kind": "sweep"}), 422, "not_supported_yet")
    assert document["errors"][0]["pointer"] == "#/kind"


def test_an_unknown_kind_is_told_what_there_is(signed_in):
    document = problem(signed_in.post("/v1/jobs", json={"kind": "guess"}), 422, "invalid_request")
    assert "'train', 'export', 'evaluate', 'import'" in document["errors"][0]["detail"]


@pytest.mark.parametrize("body", [{}, [], 3, None, "x"])
def test_a_body_of_the_wrong_shape_is_a_problem(signed_in, body):
    problem(signed_in.post("/v1/jobs", json=body), 422, "invalid_request")


def test_broken_json_is_told_where_it_breaks(signed_in):
    response = signed_in.post("/v1/jobs", content=b'{"kind": ', headers={"Content-Type": "application/json"})
    assert "character" in problem(response, 400, "malformed_json")["detail"]


def test_a_body_that_is_not_json_is_named_so(signed_in):
    response = signed_in.post("/v1/jobs", content=b"kind=train", headers={"Content-Type": "text/plain"})
    problem(response, 415, "unsupported_media_type")


def test_a_wrong_query_parameter_is_named(signed_in):
    document = problem(signed_in.get("/v1/jobs?limit=0"), 422, "invalid_request")
    assert document["errors"][0]["parameter"] == "limit"


def test_a_wrong_header_is_named(signed_in):
    response = signed_in.post(
        "/v1/jobs",
        json={"kind": "train", "dataset": {"name": "n"}},
        headers={"Idempotency-Key": "k" * 256},
    )
    assert "Idempotency-Key" in problem(response, 422, "bad_idempotency_key")["detail"]


def test_a_body_that_says_it_is_too_large_is_not_read(signed_in):
    problem(signed_in.post("/v1/jobs", content=b"x" * (BODY_LIMIT + 1)), 413, "body_too_large")


def test_a_body_that_grows_too_large_is_cut_off(signed_in):
    chunks = (b" " * 65_536 for _ in range(BODY_LIMIT // 65_536 + 1))
    response = signed_in.post("/v1/jobs", content=chunks, headers={"Content-Type": "application/json"})
    problem(response, 413, "body_too_large")


def test_an_error_of_ours_carries_its_hint_and_fields(app, signed_in):
    @app.get("/fails")
    def fail():
        problems = (FieldProblem(pointer="/dataset/name", detail="use another"),)
        raise InvalidRequest("no such dataset", hint="look", problems=problems, code="odd_dataset")

    document = problem(signed_in.get("/fails"), 422, "odd_dataset")
    assert document["title"] == "Odd dataset"
    assert document["hint"] == "look"
    assert document["errors"] == [{"detail": "use another", "pointer": "#/dataset/name"}]


def test_an_unexpected_error_tells_nothing_of_the_inside(app, signed_in):
    @app.get("/breaks")
    def break_down():
        raise ZeroDivisionError("a secret of the inside")

    response = signed_in.get("/breaks")
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    problem(response, 500, "internal_error")


def test_a_route_that_answers_against_its_model_is_an_internal_error(app, signed_in):
    class Answer(BaseModel):
        number: int

    @app.get("/lies")
    def lie() -> Answer:
        return {"number": "none"}

    problem(signed_in.get("/lies"), 500, "internal_error")


def test_a_key_without_the_scope_is_forbidden(app, client):
    app.dependency_overrides[get_caller] = lambda: Principal(
        owner="bob", key_id="key_2", scopes=frozenset({"jobs:read"})
    )
    app.dependency_overrides[open_transaction] = lambda: None
    response = client.post("/v1/jobs", json={"kind": "train", "dataset": {"name": "n"}})
    assert "jobs:write" in problem(response, 403, "missing_scope")["detail"]
