"""The Celery application: ``celery -A worker.celery_app worker -Q jobs`` and ``-Q control``.

A message here is a wake-up and nothing else; the truth is in PostgreSQL. Only a wish for a spectrogram says
what for: that is a cache entry, and whoever wants it asks again (docs/decisions/0013).
"""

from typing import Any

from celery import Celery, signals

from heimdall_core import logs
from heimdall_core.jobs.hints import CONTROL_QUEUE, JOBS_QUEUE, SPECTROGRAM_TASK, WAKE_TASK
from heimdall_core.settings import Settings, load_settings
from worker import roles
from worker.control import CONTROL_TASKS, beat_schedule


def create_app(settings: Settings) -> Celery:
    """The app with the settings that long jobs on Redis need; see docs/decisions/0003."""
    app = Celery("heimdall", broker=settings.redis.url.get_secret_value())
    app.conf.update(
        task_acks_late=False,
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        task_reject_on_worker_lost=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        task_ignore_result=True,
        result_backend=None,
        task_serializer="json",
        accept_content=["json"],
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_max": 0.2},
        broker_transport_options={
            "visibility_timeout": 600,
            "unacked_restore_throttle": 1,
            "socket_connect_timeout": 3,
            "socket_timeout": 10,
            "socket_keepalive": True,
            "health_check_interval": 25,
            "global_keyprefix": settings.redis.key_prefix,
        },
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        task_default_queue=CONTROL_QUEUE,
        task_routes={WAKE_TASK: {"queue": JOBS_QUEUE}, SPECTROGRAM_TASK: {"queue": JOBS_QUEUE}},
        beat_schedule=beat_schedule(settings.lease),
        timezone="UTC",
    )
    return app


settings = load_settings()
app = create_app(settings)


@app.task(name=WAKE_TASK)
def wake() -> None:
    """There may be a job to claim."""
    roles.wake_slots()


@app.task(name=SPECTROGRAM_TASK)
def make_spectrogram(session_id: str, segment: int) -> None:
    """Somebody looks at a recording session."""
    roles.make_spectrogram(session_id, segment)


for _task in CONTROL_TASKS:
    app.task(name=_task.name)(roles.bind(_task))


@signals.setup_logging.connect
def _keep_our_logging(**_: object) -> None:
    """Connected, it keeps Celery from setting up its own."""
    logs.configure(settings.log_format)


@signals.worker_init.connect
def _start(sender: Any, **_: object) -> None:
    roles.start(sender.app.amqp.queues.consume_from, settings)


@signals.worker_shutting_down.connect
def _stop(**_: object) -> None:
    roles.request_stop()


@signals.worker_shutdown.connect
def _join(**_: object) -> None:
    roles.join()
