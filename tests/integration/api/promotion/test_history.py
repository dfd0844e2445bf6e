"""What a model and its versions tell of themselves: events, lineage, files."""

from sqlalchemy import select

from heimdall_core.database.catalogue_tables import ModelEvent
from heimdall_core.database.job_tables import Outbox
from tests.integration.api.promotion.registry import MODEL, VERIFIED, promote


def test_mlflow_is_told_of_every_change_of_aliases_by_an_entry_of_its_own(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0)
    promote(client, 2)
    client.post(f"{MODEL}:rollback")
    with client.database.transaction() as session:
        told = session.scalars(select(Outbox).where(Outbox.topic == "mlflow.alias").order_by(Outbox.id)).all()
        ids = session.scalars(
            select(ModelEvent.id).where(ModelEvent.kind.in_(["model.promoted", "model.rolled_back"]))
        ).all()
    changes = [(o.payload["champion_version"], o.payload["previous_version"]) for o in told]
    assert changes == [(1, None), (2, 1), (1, 2)]
    assert [o.key for o in told] == [str(event_id) for event_id in sorted(ids)]


def test_events_are_read_on_from_where_a_consumer_stopped(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, promote="if_better")
    first = client.get(f"{MODEL}/events?limit=3").json()
    assert len(first["data"]) == 3
    rest = client.get(f"{MODEL}/events?after={first['next_after']}").json()
    assert [event["event"] for event in rest["data"]] == ["model.promoted"]
    nothing = client.get(f"{MODEL}/events?after={rest['next_after']}").json()
    assert nothing == {"data": [], "next_after": rest["next_after"]}


def test_a_version_tells_its_lineage_its_verification_and_its_files(client, registry):
    uri = f"s3://{client.settings.storage.models_bucket}/model-int8.onnx"
    file = {"name": "model-int8.onnx", "precision": "int8", "opset": 18, "include_frontend": False}
    file |= {"uri": uri, "sha256": "2" * 64, "bytes": 3, "verification": VERIFIED}
    first = registry.train(exports=[file])
    second = registry.train(init_from=None)
    third = registry.export(first)
    version = client.get(f"{MODEL}/versions/{first}").json()
    assert version["verification"] == VERIFIED
    (export,) = version["exports"]
    assert (export["name"], export["precision"], export["verification"]) == (
        "model-int8.onnx",
        "int8",
        VERIFIED,
    )
    assert "X-Amz-Signature" in export["download_url"]
    assert [artifact["name"] for artifact in version["artifacts"]] == ["best.ckpt", "residuals.json"]
    assert "X-Amz-Signature" in version["artifacts"][0]["download_url"]
    assert version["lineage"]["parent"] is None
    assert version["lineage"]["dataset"]["digest"] == "digest 1"
    assert client.get(f"{MODEL}/versions/{second}").json()["lineage"]["parent"] is None
    lineage = client.get(f"{MODEL}/versions/{third}").json()["lineage"]
    assert (lineage["job_kind"], lineage["job_id"] != version["job_id"]) == ("export", True)
    assert lineage["parent"] == {"name": "localization", "version": first, "relation": "exported"}


def test_files_of_anothers_job_are_not_handed_out(client, registry):
    registry.train()
    stranger = client.make_key("models:read", owner="bob")
    assert client.get(f"{MODEL}/versions/1", headers=stranger).json()["artifacts"] == []
    owner = client.make_key("models:read", owner="ann")
    assert client.get(f"{MODEL}/versions/1", headers=owner).json()["artifacts"] != []
