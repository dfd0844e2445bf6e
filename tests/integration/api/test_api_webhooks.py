"""Webhook endpoints and deliveries over HTTP."""

from sqlalchemy import select

from heimdall_core.database.account_tables import AuditEntry
from heimdall_core.database.catalogue_tables import IdempotencyRecord
from heimdall_core.database.notification_tables import WebhookEndpoint

ENDPOINTS = "/v1/webhook-endpoints"
URL = "https://hooks.example.org/heimdall"


def problem(response, status, code):
    assert response.status_code == status, response.text
    assert response.json()["code"] == code
    return response.json()


def create(client, headers=None, **fields):
    response = client.post(ENDPOINTS, json={"url": URL, **fields}, headers=headers)
    assert response.status_code == 201, response.text
    return response.json()


def test_what_must_not_be_called_or_is_no_endpoint_is_refused(client):
    for url in ("http://example.org/", "https://127.0.0.1/", "https://a:b@example.org/"):
        refused = problem(client.post(ENDPOINTS, json={"url": url}), 422, "webhook_url_refused")
        assert refused["errors"][0]["pointer"] == "#/url"
    for body in (
        {},
        {"url": URL, "events": []},
        {"url": URL, "events": ["*.failed"]},
        {"url": URL, "kinds": ["bake"]},
        {"url": URL, "secret": "whsec_mine"},
    ):
        assert client.post(ENDPOINTS, json=body).status_code == 422, body
    made = create(client)
    patched = client.patch(f"{ENDPOINTS}/{made['id']}", json={"url": "https://10.0.0.1/"})
    problem(patched, 422, "webhook_url_refused")


def test_an_endpoint_is_its_owners_alone(client):
    ann, bob = create(client), client.make_key("webhooks:write", owner="bob")
    his = create(client, bob)
    here = f"{ENDPOINTS}/{ann['id']}"
    for method, path in [
        ("GET", here),
        ("PATCH", here),
        ("DELETE", here),
        ("POST", f"{here}:rotate-secret"),
        ("POST", f"{here}:test"),
        ("GET", f"{here}/deliveries"),
    ]:
        json = {} if method in {"PATCH", "POST"} else None
        problem(client.request(method, path, json=json, headers=bob), 404, "webhook_endpoint_not_found")
    delivery = client.post(f"{here}:test").json()["id"]
    for method, path in [("GET", ""), ("POST", ":replay")]:
        response = client.request(method, f"/v1/webhook-deliveries/{delivery}{path}", headers=bob)
        problem(response, 404, "webhook_delivery_not_found")
    assert [e["id"] for e in client.get(ENDPOINTS, headers=bob).json()["data"]] == [his["id"]]
    assert [e["id"] for e in client.get(ENDPOINTS).json()["data"]] == [his["id"], ann["id"]]
    problem(client.post(ENDPOINTS, json={"url": URL, "all_owners": True}, headers=bob), 403, "missing_scope")
    reader = client.make_key("jobs:read", "models:read")
    problem(client.get(ENDPOINTS, headers=reader), 403, "missing_scope")


def test_what_tells_of_everybody_is_led_nowhere_else_but_by_an_admin(client):
    """Its owner may have keys that see less, or see nothing of others at all."""
    made = create(client, all_owners=True)
    lesser, here = client.make_key("webhooks:write", owner="ann"), f"{ENDPOINTS}/{made['id']}"
    for change in ({"url": "https://example.org/elsewhere"}, {"events": ["job.*"]}, {"enabled": True}):
        problem(client.patch(here, json=change, headers=lesser), 403, "missing_scope")
    problem(client.post(f"{here}:rotate-secret", headers=lesser), 403, "missing_scope")
    assert client.get(here).json()["url"] == made["url"]
    assert client.post(f"{here}:test", headers=lesser).status_code == 202
    assert client.patch(here, json={"enabled": False}, headers=lesser).json()["enabled"] is False
    problem(client.patch(here, json={"all_owners": False}, headers=lesser), 403, "missing_scope")
    assert client.patch(here, json={"all_owners": False}).json()["all_owners"] is False
    assert client.get(f"{here}/deliveries", headers=lesser).json()["data"] == [], "nothing to have again"


def test_what_tells_of_models_is_led_nowhere_else_by_a_key_that_does_not_read_them(client):
    reader = client.make_key("webhooks:write", "models:read", owner="bob")
    lesser, here = (
        client.make_key("webhooks:write", owner="bob"),
        f"{ENDPOINTS}/{create(client, reader)['id']}",
    )
    problem(client.patch(here, json={"url": URL + "/2"}, headers=lesser), 403, "missing_scope")
    assert client.patch(here, json={"url": URL + "/2"}, headers=reader).status_code == 200


def test_a_secret_is_shown_once_and_kept_in_no_answer(client, database):
    key = {"Idempotency-Key": '"one"'}
    made, again = (client.post(ENDPOINTS, json={"url": URL}, headers=key).json() for _ in range(2))
    assert made["secret"].startswith("whsec_")
    assert again == made | {"secret": None}
    assert "secret" not in client.get(f"{ENDPOINTS}/{made['id']}").json()
    rotated = client.post(f"{ENDPOINTS}/{made['id']}:rotate-secret").json()
    assert rotated["secret"] != made["secret"]
    assert rotated["former_secret_until"] > rotated["updated_at"]
    with database.transaction() as session:
        row = session.get_one(WebhookEndpoint, made["id"])
        assert (row.secret, row.former_secret) == (rotated["secret"], made["secret"])
        told = [str(answer.body) for answer in session.scalars(select(IdempotencyRecord))]
        told += [str(entry.detail) for entry in session.scalars(select(AuditEntry))]
    assert not any("whsec_" in text for text in told)


def test_an_endpoint_is_changed_disabled_and_deleted(client):
    made = create(client, events=["job.*"], kinds=["train"], description="pager")
    here = f"{ENDPOINTS}/{made['id']}"
    changed = client.patch(here, json={"events": ["model.*"], "enabled": False}).json()
    assert (changed["events"], changed["kinds"], changed["description"]) == (["model.*"], ["train"], "pager")
    assert (changed["enabled"], changed["disabled_reason"]) == (False, "request")
    problem(client.post(f"{here}:test"), 409, "webhook_endpoint_disabled")
    enabled = client.patch(here, json={"enabled": True}).json()
    assert (enabled["enabled"], enabled["disabled_at"], enabled["disabled_reason"]) == (True, None, None)
    assert client.delete(here).status_code == 204
    problem(client.get(here), 404, "webhook_endpoint_not_found")


def test_deliveries_are_listed_page_by_page_and_replayed(client):
    made = create(client)
    here = f"{ENDPOINTS}/{made['id']}"
    sent = [client.post(f"{here}:test") for _ in range(3)]
    assert {response.status_code for response in sent} == {202}
    location = sent[0].headers["location"]
    assert client.get(location).json()["id"] == sent[0].json()["id"]
    first = client.get(f"{here}/deliveries?limit=2").json()
    rest = client.get(f"{here}/deliveries", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    listed = [delivery["id"] for delivery in first["data"] + rest["data"]]
    assert listed == [response.json()["id"] for response in reversed(sent)]
    assert not rest["has_more"]
    assert client.get(f"{here}/deliveries?status=failed").json()["data"] == []
    replayed = client.post(f"/v1/webhook-deliveries/{listed[0]}:replay")
    assert replayed.status_code == 202
    assert replayed.json()["message_id"] == sent[2].json()["message_id"]


def test_an_owner_has_a_bounded_number_of_endpoints(client, monkeypatch):
    settings = client.app.state.services.settings
    monkeypatch.setitem(vars(settings.webhooks), "max_endpoints", 1)
    create(client)
    problem(client.post(ENDPOINTS, json={"url": URL}), 409, "too_many_webhook_endpoints")
