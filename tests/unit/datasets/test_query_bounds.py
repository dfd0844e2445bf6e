"""Contradictions within a query are told together, each with its field."""

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from heimdall_core.datasets.definition import Box, Circle, DatasetDefinition, Region, SessionQuery
from heimdall_core.datasets.query_bounds import check_approved_only, check_bounds
from heimdall_core.domain.errors import InvalidRequest

QUERY = TypeAdapter(SessionQuery)
NOON = datetime(2025, 5, 1, 12, tzinfo=UTC)


def test_every_contradiction_is_named_at_once():
    box = Box(min_latitude=46, max_latitude=44, min_longitude=6, max_longitude=9)
    query = SessionQuery(
        started_after=NOON,
        started_before=NOON,
        min_frequency_hz=2,
        max_frequency_hz=1,
        region=Region(box=box, circle=Circle(latitude=45, longitude=7, radius_km=1)),
        receivers=("turin",),
        min_receivers=2,
    )
    with pytest.raises(InvalidRequest) as refused:
        check_bounds(query)
    assert [problem.pointer for problem in refused.value.problems] == [
        "/query/started_before",
        "/query/max_frequency_hz",
        "/query/min_receivers",
        "/query/region",
        "/query/region/box/max_latitude",
    ]


@pytest.mark.parametrize(
    "query",
    [
        SessionQuery(),
        SessionQuery(min_frequency_hz=1, max_frequency_hz=1),
        SessionQuery(
            region=Region(box=Box(min_latitude=1, max_latitude=1, min_longitude=9, max_longitude=-9))
        ),
        SessionQuery(receivers=("a", "b"), min_receivers=2),
    ],
)
def test_what_is_narrow_or_crosses_the_antimeridian_is_allowed(query):
    check_bounds(query)
    check_approved_only(query)


@pytest.mark.parametrize("statuses", [("pending",), ("approved", "pending"), ("rejected",)])
def test_only_approved_may_be_frozen(statuses):
    with pytest.raises(InvalidRequest) as refused:
        check_approved_only(SessionQuery(approval_status=statuses))
    assert refused.value.problems[0].pointer == "/query/approval_status"


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ({"started_after": "2025-05-01T00:00:00"}, ("started_after",)),
        (
            {"region": {"circle": {"latitude": 91, "longitude": 0, "radius_km": 1}}},
            ("region", "circle", "latitude"),
        ),
        ({"min_snr_db": float("nan")}, ("min_snr_db",)),
        ({"max_frequency_hz": float("inf")}, ("max_frequency_hz",)),
        ({"sources": [""]}, ("sources", 0)),
        ({"band": "2m"}, ("band",)),
    ],
)
def test_a_wrong_member_is_refused_by_name(query, location):
    with pytest.raises(ValidationError) as refused:
        QUERY.validate_python(query)
    assert refused.value.errors()[0]["loc"] == location


def test_a_definition_survives_json_and_back():
    definition = {
        "name": "northwest",
        "query": {
            "started_after": "2025-05-01T00:00:00+02:00",
            "region": {"circle": {"latitude": 45, "longitude": 7, "radius_km": 10}},
            "receivers": ["turin"],
        },
    }
    adapter = TypeAdapter(DatasetDefinition)
    read = adapter.validate_python(definition)
    assert adapter.validate_json(adapter.dump_json(read)) == read
