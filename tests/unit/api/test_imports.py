"""Processes that do not train stay light."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

HEAVY = "torch lightning mlflow onnx onnxruntime onnxscript transformers sklearn matplotlib torchmetrics"
ENVIRONMENT = {
    "HEIMDALL_DATABASE__URL": "postgresql+psycopg://nobody:nothing@127.0.0.1:1/none",
    "HEIMDALL_REDIS__URL": "redis://127.0.0.1:1/0",
    "HEIMDALL_STORAGE__ACCESS_KEY_ID": "id",
    "HEIMDALL_STORAGE__SECRET_ACCESS_KEY": "secret",
}


@pytest.mark.parametrize(
    "statement",
    [
        "import api.main; api.main.create()",
        "import worker.celery_app",
        "import worker.supervision, worker.slots",
    ],
)
def test_no_heavy_package_is_imported(statement):
    code = f"{statement}; import sys; print(*sorted({set(HEAVY.split())!r} & set(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | ENVIRONMENT,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip() == ""
