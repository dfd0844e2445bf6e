"""Nothing that opens a door gets into MLflow or a log."""

import time

import pytest

from heimdall_core.tracking.redaction import is_secret_name, redact


@pytest.mark.parametrize(
    "text",
    [
        "postgresql+psycopg://heimdall:hunter2@db:5432/mlflow",
        "API request to http://user:hunter2@mlflow:5000/api failed",
        "http://user:hun@ter2hunter2@mlflow/",
        "https://s3/x?X-Amz-Credential=hunter2&X-Amz-Signature=hunter2",
        'refused: {"password": "hunter2"}',
        "AWS_SECRET_ACCESS_KEY=hunter2",
        "Authorization: Bearer hunter2hunter2",
        "key hmd_hunter2hunter2 is not known",
        "PGPASSWORD=hunter2",
        "DBPassword: hunter2",
        "AWSSecretKey=hunter2",
        "secrets.aws=hunter2",
        'client_secrets: ["a", "hunter2"]',
        'password="my hunter2 word"',
        "password='my hunter2 word'",
        r'password="my \" hunter2" refused',
        r"{\"password\": \"hunter2\"}",
        r"{\"password\": \"my hunter2\", \"a\": 1}",
        "postgresql://u:p@ss/hunter2@h/mlflow",
    ],
)
def test_a_secret_is_masked_wherever_it_stands(text: str) -> None:
    assert "hunter2" not in redact(text)


def test_the_rest_of_a_text_stays() -> None:
    assert redact("http://user:pw@mlflow:5000/api?a=1 refused") == "http://***@mlflow:5000/api?a=1 refused"
    assert redact("s3://heimdall-models/jobs/j/a1/model.onnx") == "s3://heimdall-models/jobs/j/a1/model.onnx"
    assert redact("http://mlflow:5000/users/a@b refused") == "http://mlflow:5000/users/a@b refused"
    assert redact(r"{\"token\": \"x y\", \"a\": 1}") == r"{\"token\": \"***\", \"a\": 1}"
    assert redact('password="x y" is wrong') == 'password="***" is wrong'


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "db.password",
        "apiKey",
        "S3_SECRET_ACCESS_KEY",
        "access-key-id",
        "hf_token",
        "x.credentials",
        "PGPASSWORD",
        "DBPassword",
        "passwords",
        "client_secrets",
        "secrets.aws",
        "AWSSecretKey",
    ],
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["num_tokens", "training.seed", "keys", "tokenizer", "monkey", "passes"])
def test_other_names_are_no_secrets(name: str) -> None:
    assert not is_secret_name(name)


def test_a_long_text_takes_no_time() -> None:
    began_at = time.process_time()
    assert len(redact("a.b-" * 50_000)) == 200_000
    for part in ("x://a:", 'password="', "secret.", r"token:\"", "passwords "):
        redact(part * 20_000)
    assert time.process_time() - began_at < 5.0
