"""Images, compose and .env.example stay in step with the settings, the extras and `heimdall up`."""

import re
import shutil
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest
from pydantic import BaseModel

from heimdall_core.embedded import services as embedded
from heimdall_core.embedded.object_store import BUCKETS
from heimdall_core.embedded.postgres import DATABASES
from heimdall_core.settings import LeaseSettings, Settings, StorageSettings

OURS = ("api", "migrate", "buckets", "worker", "control", "beat")
IMAGE_OF = {"migrate": "api", "buckets": "api", "api": "api", "worker": "worker", "mlflow": "worker"}
ONE_SHOT = {"migrate", "buckets"}
#: Read by worker/identity.py alone, for it is no setting of the service but a name of the host.
NOT_SETTINGS = {"HEIMDALL_WORKER_NAME"}


def setting_names(model=Settings, prefix="HEIMDALL_"):
    """Each environment variable that the settings read, and whether a process cannot do without."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from setting_names(field.annotation, f"{prefix}{name.upper()}__")
        else:
            yield prefix + name.upper(), field.is_required()


KNOWN = dict(setting_names())
REQUIRED = {name for name, required in KNOWN.items() if required}


def heimdall_variables(text):
    return set(re.findall(r"\bHEIMDALL_[A-Z_]*[A-Z]\b", text))


@pytest.mark.parametrize(
    "file",
    ["docker-compose.yml", "Dockerfile.api", "Dockerfile.worker", ".env.example", "deploy/make-env.sh"],
)
def test_every_variable_named_is_a_setting(root, file):
    assert heimdall_variables((root / file).read_text()) - set(KNOWN) - NOT_SETTINGS == set()


def test_every_setting_is_in_the_example(root):
    named = re.findall(r"^#?(HEIMDALL_\w+)=", (root / ".env.example").read_text(), re.M)
    assert sorted(named) == sorted({*KNOWN, *NOT_SETTINGS})


@pytest.mark.parametrize("service", OURS)
def test_no_process_lacks_a_required_setting(compose, service):
    environment = compose["services"][service]["environment"]
    assert {name for name in REQUIRED if not environment.get(name)} == set()


def test_every_process_has_the_same_times_of_the_job_engine(compose):
    wanted = {name for name in KNOWN if name.startswith("HEIMDALL_LEASE__")}
    for service in OURS:
        assert wanted <= set(compose["services"][service]["environment"]), service


def test_presigned_urls_name_an_address_that_the_owner_states(compose):
    given = compose["services"]["api"]["environment"]["HEIMDALL_STORAGE__PUBLIC_ENDPOINT_URL"]
    assert given.startswith("${HEIMDALL_STORAGE__PUBLIC_ENDPOINT_URL:?")


@pytest.mark.parametrize("service", ["worker", "control", "beat", "migrate", "api", "mlflow"])
def test_commands_are_those_of_heimdall_up(command_of, service):
    def without_places(command):
        places = r"\d{4,5}|127\.0\.0\.1|0\.0\.0\.0|.*/beat-schedule"
        return ["PLACE" if re.fullmatch(places, word) else word for word in command]

    run, specs = Path("/run"), {}
    specs["api"] = embedded.api(port=8080, run=run).argv
    specs["mlflow"] = embedded.mlflow(
        port=5000,
        run=run,
        database_url="",
        storage=dict.fromkeys(KNOWN, ""),
    ).argv
    specs |= {
        s.name: s.argv for s in (f(run=run) for f in (embedded.worker, embedded.control, embedded.beat))
    }
    specs["migrate"] = embedded.migrate_command()
    assert without_places(command_of(service)) == ["python", *without_places(specs[service][1:])]


def test_mlflow_gets_the_settings_that_heimdall_up_gives_it(compose):
    given = compose["services"]["mlflow"]["environment"]
    storage = dict.fromkeys(KNOWN, "")
    wanted = embedded.mlflow(port=5000, run=Path("/run"), database_url="", storage=storage).env
    assert set(wanted) <= set(given)
    assert all(given[name] == value for name, value in wanted.items() if value in {"true", "false"})
    assert given["MLFLOW_ARTIFACTS_DESTINATION"] == wanted["MLFLOW_ARTIFACTS_DESTINATION"]


@pytest.mark.parametrize("image", ["api", "worker"])
def test_extras_exist_and_the_lock_names_what_they_ask_for(root, pyproject, dockerfiles, load_script, image):
    (extra,) = re.findall(r"list_requirements\.py (\S+) >", dockerfiles[image])
    wanted = load_script("list_requirements").list_requirements(pyproject["project"], [extra])
    lock = (root / "requirements.lock").read_text().splitlines()
    locked = {line.split("==")[0].lower().replace("_", "-") for line in lock}
    names = {re.match(r"[\w.-]+", line).group().lower().replace("_", "-") for line in wanted}
    assert names <= locked
    assert extra == image


def test_an_extra_that_does_not_exist_fails_the_build(pyproject, load_script):
    with pytest.raises(SystemExit, match="no extra"):
        load_script("list_requirements").list_requirements(pyproject["project"], ["gpu"])


def test_the_image_check_knows_every_heavy_package(pyproject, load_script, heavy_of_the_import_test):
    heavy = set(load_script("check_image").HEAVY)
    contracts = pyproject["tool"]["importlinter"]["contracts"]
    (contract,) = [c for c in contracts if "torch" in c.get("forbidden_modules", ())]
    assert heavy == heavy_of_the_import_test
    assert set(contract["forbidden_modules"]) <= heavy


def test_the_image_check_refuses_an_api_with_torch_and_a_version_that_is_not_locked(load_script, tmp_path):
    check = load_script("check_image")
    lock = tmp_path / "requirements.lock"
    lock.write_text("pydantic==0.1\n")
    assert "torch is installed, and the api must do without" in list(check._package_faults("api"))
    assert any(
        re.match(r"pydantic \S+ is installed, and .* names 0\.1", f) for f in check._version_faults(lock)
    )


def test_each_image_checks_itself_as_the_user_that_it_runs_as(dockerfiles):
    for image, text in dockerfiles.items():
        last = text.rpartition("\nFROM ")[2]
        assert re.search(r"^USER 10001:10001$.*check_image\.py " + image, last, re.M | re.S), image
        assert "pip install" not in last
        assert re.search(r'^ENTRYPOINT \["tini", "--"\]$', last, re.M)
        assert "HEALTHCHECK" in last


def test_the_python_of_the_images_is_exact_and_one_that_the_project_takes(pyproject, dockerfiles):
    minimum = tuple(map(int, re.findall(r"\d+", pyproject["project"]["requires-python"])))
    images = {re.search(r"^ARG PYTHON_IMAGE=(\S+)$", text, re.M)[1] for text in dockerfiles.values()}
    (image,) = images
    version = re.fullmatch(r"python:(\d+)\.(\d+)\.(\d+)-slim-[a-z]+", image)
    assert tuple(map(int, version.groups())) >= minimum


def test_the_copied_files_are_not_ignored(root, dockerfiles):
    rules = [r for r in (root / ".dockerignore").read_text().splitlines() if r.startswith("!")]
    for text in dockerfiles.values():
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.M):
            for source in line.split()[:-1]:
                assert (root / source).exists(), source
                assert any(fnmatch(source, rule[1:].rstrip("/") + "*") for rule in rules), source


@pytest.mark.slow
def test_a_wheel_holds_the_files_that_are_no_code(root, tmp_path):
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("api", "heimdall_core", "migrations", "worker"):
        shutil.copytree(root / folder, source / folder, ignore=ignored)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / file, source)
    needed = {str(file.relative_to(source)) for file in source.glob("*/**/*") if file.is_file()}
    options = ["-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "."], cwd=source, check=True, capture_output=True
    )
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        assert needed <= set(wheel.namelist())
    assert {
        "heimdall_core/py.typed",
        "migrations/script.py.mako",
        "api/dashboard/static/heimdall.css",
    } <= needed


def test_every_service_is_watched_or_runs_once(compose, dockerfiles):
    for name, service in compose["services"].items():
        if name in ONE_SHOT:
            assert service["restart"] == "no", name
            assert service["healthcheck"] == {"disable": True}, name
        else:
            assert service["restart"] == "unless-stopped", name
            own = service.get("healthcheck", {}).get("test")
            assert own or "HEALTHCHECK" in dockerfiles[name], name


def test_health_is_asked_of_the_role_that_runs(compose, dockerfiles, load_script):
    roles = set(load_script("healthcheck").CHECKS)
    assert roles == {"api", "worker", "control", "beat", "mlflow"}
    for role in roles:
        given = compose["services"][role].get("healthcheck", {}).get("test")
        last = given[-1] if given else re.search(r'healthcheck\.py", "(\w+)"\]', dockerfiles[role])[1]
        assert last == role


def test_beat_writes_where_its_health_is_looked_for(command_of, load_script):
    assert str(load_script("healthcheck").BEAT_SCHEDULE) in command_of("beat")


def test_who_waits_for_the_migration_waits_for_its_success(compose):
    for name in ("api", "worker", "control", "beat"):
        waits = compose["services"][name]["depends_on"]
        assert waits["migrate"] == {"condition": "service_completed_successfully"}, name


def test_the_worker_is_given_longer_than_its_trainers_take_to_stop(compose, dockerfiles):
    seconds = int(compose["services"]["worker"]["stop_grace_period"].removesuffix("s"))
    assert seconds >= 2 * LeaseSettings().stop_grace_seconds + 30
    assert seconds >= embedded.WORKER_STOP_SECONDS
    assert f"--time {seconds}" in dockerfiles["worker"]


def test_no_image_floats_and_every_secret_must_be_given(root, compose):
    for name, service in compose["services"].items():
        assert re.search(r":[\w.-]*\d+\.\d+|:RELEASE\.\d{4}", service["image"]), name
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|ACCESS_KEY|_AUTH|_URL$", variable) and "://" not in str(value):
                assert re.match(r"\$\{\w+:\?[^}]+\}", value), (name, variable)
            if "@" in str(value):
                assert re.search(r":\$\{\w+:\?[^}]+\}@|^\$\{HEIMDALL_WORKER_NAME", value), (name, variable)
    secrets = re.findall(r"^(\w*(?:PASSWORD|KEY|KEY_ID))=(.*)$", (root / ".env.example").read_text(), re.M)
    assert dict.fromkeys((name for name, _ in secrets), "") == dict(secrets)


def test_only_the_api_and_the_object_store_are_published_and_on_loopback(compose):
    published = {n: s["ports"] for n, s in compose["services"].items() if "ports" in s}
    assert set(published) == {"api", "minio"}
    assert all(
        re.match(r"\$\{\w+:-127\.0\.0\.1:\d+\}:\d+$", p) for ports in published.values() for p in ports
    )
    assert compose["networks"]["inside"] == {"internal": True}


def test_ours_run_without_rights_on_a_root_that_they_cannot_write(compose):
    for name in (*OURS, "mlflow"):
        service = compose["services"][name]
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name


def test_buckets_and_databases_are_those_of_heimdall_up(root, compose, command_of):
    assert tuple(command_of("buckets")[2:]) == BUCKETS
    environment = compose["services"]["api"]["environment"]
    for name in ("raw_bucket", "models_bucket"):
        default = StorageSettings.model_fields[name].default
        assert default in BUCKETS
        assert environment[f"HEIMDALL_STORAGE__{name.upper()}"] == default
    made = re.findall(r"create database (\w+);", (root / "deploy/postgres/mlflow.sql").read_text())
    assert {compose["services"]["postgres"]["environment"]["POSTGRES_DB"], *made} == set(DATABASES)


def test_make_env_fills_every_blank_and_leaves_a_present_file_alone(root, tmp_path):
    target = tmp_path / "made.env"
    command = ["sh", str(root / "deploy/make-env.sh"), str(target)]
    subprocess.run(command, check=True, capture_output=True)
    made = target.read_text()
    assert re.findall(r"^\w+=$", made, re.M) == []
    assert target.stat().st_mode & 0o077 == 0
    assert Settings.model_config["env_prefix"] in made
    again = subprocess.run(command, check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert "exists" in again.stderr
    assert target.read_text() == made


def test_two_made_files_share_no_secret(root, tmp_path):
    secrets = []
    for name in ("one", "two"):
        subprocess.run(["sh", root / "deploy/make-env.sh", tmp_path / name], check=True, capture_output=True)
        found = re.findall(r"^\w*(?:PASSWORD|KEY|KEY_ID)=(.+)$", (tmp_path / name).read_text(), re.M)
        assert len(found) == len(set(found)) == 6
        secrets.append(set(found))
    assert not secrets[0] & secrets[1]


@pytest.mark.parametrize("service", ["migrate", "api", "worker", "control", "beat"])
def test_units_of_systemd_run_the_same_commands(root, command_of, service):
    unit = (root / f"deploy/systemd/heimdall-{service}.service").read_text()
    command = re.search(r"^ExecStart=/opt/heimdall/bin/(.*)$", unit, re.M)[1].replace("%%", "%").split()
    places = {"127.0.0.1": "0.0.0.0", "/var/lib/heimdall/beat-schedule": "/tmp/beat-schedule"}
    assert [places.get(word, word) for word in command] == command_of(service)


def test_systemd_gives_the_worker_the_time_that_compose_gives_it(root, compose):
    unit = (root / "deploy/systemd/heimdall-worker.service").read_text()
    assert f"TimeoutStopSec={compose['services']['worker']['stop_grace_period'].removesuffix('s')}\n" in unit
    assert "KillMode=mixed\n" in unit


def test_every_setting_reaches_the_worker(compose):
    """What somebody writes into .env must not be ignored on the way."""
    given = set(compose["services"]["worker"]["environment"])
    of_the_image = {"HEIMDALL_HOME", "HEIMDALL_CACHE_DIR"}
    assert set(KNOWN) - given - of_the_image == {"HEIMDALL_BOOTSTRAP_KEY"}
