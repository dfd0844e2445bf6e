"""An S3 server over a folder, as a supervised child: ``rclone serve s3``."""

from collections.abc import Mapping
from dataclasses import dataclass

from heimdall_core.embedded.home import Home
from heimdall_core.embedded.ports import LOOPBACK
from heimdall_core.embedded.program import ProgramSpec, http_status
from heimdall_core.embedded.programs import rclone_program

BUCKETS = ("heimdall-raw-iq", "heimdall-models", "heimdall-mlflow")
REGION = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStoreEngine:
    """Buckets are folders, objects are files."""

    home: Home
    port: int
    access_key: str
    secret_key: str

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings by which the services find it."""
        return {
            "HEIMDALL_STORAGE__ENDPOINT_URL": self._url,
            "HEIMDALL_STORAGE__PUBLIC_ENDPOINT_URL": self._url,
            "HEIMDALL_STORAGE__ACCESS_KEY_ID": self.access_key,
            "HEIMDALL_STORAGE__SECRET_ACCESS_KEY": self.secret_key,
            "HEIMDALL_STORAGE__REGION": REGION,
        }

    @property
    def _url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def prepare(self) -> ProgramSpec:
        """Makes the buckets; creating one over S3 that exists would be an error."""
        objects = self.home.folder("s3")
        for bucket in BUCKETS:
            (objects / bucket).mkdir(exist_ok=True)
        return ProgramSpec(
            name="s3",
            argv=(str(rclone_program()), "serve", "s3", "--addr", f"{LOOPBACK}:{self.port}", str(objects)),
            cwd=objects,
            env={
                "RCLONE_AUTH_KEY": f'"{self.access_key},{self.secret_key}"',
                "RCLONE_CONFIG": "/dev/null",
                "RCLONE_CACHE_DIR": str(self.home.folder("run")),
            },
            port=self.port,
            url=self._url,
            is_ready=lambda: http_status(self.port) is not None,
        )

    def initialise(self) -> None:
        """Needs nothing."""
