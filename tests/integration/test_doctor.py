"""The checks of ``heimdall doctor`` against the real engines."""

import pytest
from pydantic import SecretStr

from heimdall_core.cli.doctor_database import check_database, check_redis
from heimdall_core.cli.doctor_findings import Findings, State
from heimdall_core.cli.doctor_storage import check_bucket
from heimdall_core.database.engine import Database
from heimdall_core.settings import Settings

BUCKET = "HEIMDALL_STORAGE__RAW_BUCKET"


def with_url(group, old: str, new: str):
    """The settings with the last ``old`` of their URL replaced."""
    before, found, after = group.url.get_secret_value().rpartition(old)
    assert found
    return group.model_copy(update={"url": SecretStr(before + new + after)})


def password_of(url: str) -> str:
    return url.rpartition("@")[0].rpartition(":")[2]


def failure(found: Findings) -> str:
    (only,) = found
    assert only.state is State.FAILED
    assert only.remedy
    return only.message


def test_engines_that_are_well_have_good_findings_only(
    settings: Settings, migrated_database: Database
) -> None:
    found = [
        *check_database(settings.database),
        *check_redis(settings.redis),
        *check_bucket(settings.storage, settings.storage.raw_bucket, BUCKET),
    ]
    assert {finding.state for finding in found} == {State.OK}
    assert {"postgres", "clock", "schema", "redis", "bucket", "presigned"} == {f.subject for f in found}


def test_a_wrong_password_is_told_apart_and_not_shown(settings: Settings) -> None:
    password = password_of(settings.database.url.get_secret_value())
    found = check_database(with_url(settings.database, password, "wrong-secret"))
    assert "does not accept user or password" in failure(found)
    assert "wrong-secret" not in str(found)
    password = password_of(settings.redis.url.get_secret_value())
    assert "does not accept the password" in failure(
        check_redis(with_url(settings.redis, password, "wrong-secret"))
    )


@pytest.mark.parametrize("secret", ["wrong-secret"])
def test_a_wrong_key_of_the_store_is_told_apart(settings: Settings, secret: str) -> None:
    wrong = settings.storage.model_copy(update={"secret_access_key": SecretStr(secret)})
    assert "does not accept the credential" in failure(check_bucket(wrong, wrong.raw_bucket, BUCKET))


def test_a_missing_bucket_is_told_apart(settings: Settings) -> None:
    assert failure(check_bucket(settings.storage, "no-such-bucket", BUCKET)) == (
        "there is no bucket no-such-bucket"
    )


def test_a_missing_database_is_told_apart(settings: Settings) -> None:
    missing = with_url(settings.database, "/heimdall", "/nosuch")
    assert "has no such database" in failure(check_database(missing))


def test_a_database_that_was_never_migrated_says_migrate(settings: Settings) -> None:
    schema = check_database(with_url(settings.database, "/heimdall", "/mlflow"))[-1]
    assert (schema.subject, schema.state) == ("schema", State.FAILED)
    assert "heimdall migrate" in (schema.remedy or "")
