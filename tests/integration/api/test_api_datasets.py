"""Dataset previews and queries over HTTP, on real engines."""

import pytest


def names(problem):
    return {entry["pointer"] for entry in problem["errors"]}


def body(query=None, **parts):
    return {"name": "northwest", "query": query or {}, "split": {"strategy": "source"}} | parts


BOX = {"min_latitude": 44, "max_latitude": 46, "min_longitude": 6, "max_longitude": 9}
CIRCLE = {"latitude": 45, "longitude": 7, "radius_km": 10}


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"started_after": "2025-05-01T00:00:00"}, "#/query/started_after"),
        ({"started_before": "2025-05-01"}, "#/query/started_before"),
        (
            {"started_after": "2025-05-02T00:00:00Z", "started_before": "2025-05-01T00:00:00Z"},
            "#/query/started_before",
        ),
        ({"min_frequency_hz": 2, "max_frequency_hz": 1}, "#/query/max_frequency_hz"),
        ({"min_frequency_hz": -1}, "#/query/min_frequency_hz"),
        ({"region": {}}, "#/query/region"),
        ({"region": {"box": BOX, "circle": CIRCLE}}, "#/query/region"),
        ({"region": {"box": BOX | {"max_latitude": 91}}}, "#/query/region/box/max_latitude"),
        ({"region": {"box": BOX | {"max_latitude": 43}}}, "#/query/region/box/max_latitude"),
        ({"region": {"box": BOX | {"min_longitude": -181}}}, "#/query/region/box/min_longitude"),
        ({"region": {"circle": CIRCLE | {"radius_km": 0}}}, "#/query/region/circle/radius_km"),
        ({"region": {"circle": {"latitude": 45, "longitude": 7}}}, "#/query/region/circle/radius_km"),
        ({"region": {"polygon": []}}, "#/query/region/polygon"),
        ({"receivers": []}, "#/query/receivers"),
        ({"receivers": ["turin", "torino"]}, "#/query/receivers/1"),
        ({"receivers": ["turin"], "min_receivers": 2}, "#/query/min_receivers"),
        ({"min_receivers": 0}, "#/query/min_receivers"),
        ({"min_snr_db": 1000}, "#/query/min_snr_db"),
        ({"sources": ["nobody"]}, "#/query/sources/0"),
        ({"session_ids": ["00000000-0000-0000-0000-000000000000"]}, "#/query/session_ids/0"),
        ({"import_job_ids": ["job_x"]}, "#/query/import_job_ids/0"),
        ({"approval_status": ["maybe"]}, "#/query/approval_status/0"),
        ({"colour": "red"}, "#/query/colour"),
    ],
)
def test_a_wrong_query_is_refused_by_name_when_previewed_and_when_frozen(client, query, pointer):
    client.post("/v1/receivers", json={"name": "turin", "latitude": 45.0, "longitude": 7.7})
    for path in ("/v1/datasets:preview", "/v1/datasets"):
        response = client.post(path, json=body(query))
        assert response.status_code == 422, response.text
        assert names(response.json()) == {pointer}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_what_is_no_number_is_refused(client, number):
    content = f'{{"name": "northwest", "query": {{"min_snr_db": {number}}}}}'
    response = client.post(
        "/v1/datasets:preview", content=content, headers={"Content-Type": "application/json"}
    )
    assert response.status_code in {400, 422}


def test_previewing_needs_no_more_than_reading(client):
    reader = client.make_key("datasets:read", owner="reader")
    assert client.post("/v1/datasets:preview", json=body(), headers=reader).status_code == 200
    stranger = client.make_key("jobs:read", owner="stranger")
    assert client.post("/v1/datasets:preview", json=body(), headers=stranger).status_code == 403


def test_a_preview_of_an_empty_catalogue_says_what_is_missing(client):
    found = client.post("/v1/datasets:preview", json=body()).json()
    assert [(p["pointer"], p["code"]) for p in found["problems"]] == [("#/query", "no_approved_sessions")]
    assert (found["sessions"], found["splits"], found["would_create_version"]) == (0, None, None)


def test_pending_sessions_can_be_looked_at_but_not_frozen(client):
    client.import_sessions(range(4))
    query = {"approval_status": ["pending"]}
    found = client.post("/v1/datasets:preview", json=body(query)).json()
    assert found["sessions"] == 4
    assert [p["pointer"] for p in found["problems"]] == ["#/query/approval_status"]
    refused = client.post("/v1/datasets", json=body(query))
    assert refused.status_code == 422
    assert refused.json()["code"] == "not_approved"
    assert names(refused.json()) == {"#/query/approval_status"}
    assert client.post("/v1/datasets:preview", json=body()).json()["left_out"]["pending"] == 4


def test_a_preview_leaves_no_version_and_tells_which_one_freezing_makes(client):
    client.import_sessions(range(6), auto_approve=True)
    asked = body({"receivers": ["turin", "aosta"], "min_receivers": 2})
    found = client.post("/v1/datasets:preview", json=asked).json()
    assert (found["would_create_version"], found["same_as_version"]) == (1, None)
    assert client.get("/v1/datasets").json()["data"] == []
    frozen = client.post("/v1/datasets", json=asked)
    assert frozen.status_code == 201, frozen.text
    frozen = frozen.json()
    assert [r["name"] for r in frozen["receivers"]] == [r["name"] for r in found["receivers"]]
    assert frozen["counts"]["recordings"] == found["recordings"] == 12
    assert {s: size["sessions"] for s, size in found["splits"].items()} == {
        split: frozen["counts"][split] for split in ("train", "val", "test")
    }
    assert frozen["query"]["receivers"] == ["turin", "aosta"]
    again = client.post("/v1/datasets:preview", json=asked).json()
    assert (again["would_create_version"], again["same_as_version"]) == (None, 1)


def test_a_region_restricts_to_the_sources_within(client):
    client.import_sessions(range(6), auto_approve=True)
    everywhere = client.post("/v1/datasets:preview", json=body()).json()
    circle = {"latitude": 44.2, "longitude": 7.0, "radius_km": 70}
    near = client.post("/v1/datasets:preview", json=body({"region": {"circle": circle}})).json()
    assert (everywhere["sessions"], near["sessions"]) == (6, 3)
    assert near["bounding_box"]["min_latitude"] == 44.2
    assert near["frequencies"] == [{"frequency_hz": 145e6, "sessions": 3}]


def test_the_contract_describes_every_member_of_a_query(client):
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    query = schemas["SessionQuery"]
    assert query["additionalProperties"] is False
    assert [name for name, member in query["properties"].items() if not member.get("description")] == []
    for path in ("/v1/datasets", "/v1/datasets:preview"):
        examples = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]
        for example in examples.values():
            answer = client.post("/v1/datasets:preview", json=example["value"]).json()
            assert answer.get("code") in {None, "unknown_name"}
