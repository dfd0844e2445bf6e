"""``/metrics``, for Prometheus."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.dependencies import Transaction, needs
from api.metrics import ServiceMetrics

router = APIRouter(include_in_schema=False)


@router.get("/metrics", dependencies=[needs("jobs:read:all")])
def read_metrics(request: Request, session: Transaction) -> Response:
    """What docs/monitoring.md lists."""
    metrics: ServiceMetrics = request.app.state.metrics
    return Response(metrics.render(session), media_type=CONTENT_TYPE_LATEST)
