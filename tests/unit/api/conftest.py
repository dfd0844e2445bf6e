"""An application without neighbours: its database does not listen, its store is a folder."""

import socket

import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from api.app import create_app
from api.services import Services
from heimdall_core.database import Database
from heimdall_core.settings import DatabaseSettings, Settings
from heimdall_core.storage import FolderStore


class SilentHints:
    """Counts hints and sends none."""

    def __init__(self):
        self.num_hints = 0

    def start(self):
        pass

    def hint(self):
        self.num_hints += 1

    def ask_spectrogram(self, session_id, segment):
        pass

    def close(self):
        pass


class FolderHandouts(FolderStore):
    """A folder that hands out URLs nobody can follow."""

    def presign_get(self, uri):
        return f"https://files.example/get/{uri}"

    def presign_put(self, uri):
        return f"https://files.example/put/{uri}"

    def ping(self):
        pass


@pytest.fixture
def services(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    url = f"postgresql+psycopg://nobody:nothing@127.0.0.1:{port}/none"
    settings = Settings(
        _env_file=None,
        database=DatabaseSettings(url=url, connect_timeout_seconds=1),
        redis={"url": f"redis://127.0.0.1:{port}/0"},
        storage={"access_key_id": "id", "secret_access_key": "secret"},
    )
    return Services(
        settings=settings,
        database=Database(settings.database),
        store=FolderHandouts(tmp_path),
        hints=SilentHints(),
    )


@pytest.fixture
def app(services):
    return create_app(services)


@pytest.fixture
def client(app):
    with capture_logs(), TestClient(app, base_url="http://api.test") as client:
        yield client
