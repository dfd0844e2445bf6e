"""A real training from the form to its end, followed by a page that is never loaded again."""

import contextlib
import re
import time

import pytest
from playwright.sync_api import expect

#: How many points the first curve has that is drawn.
POINTS = (
    "[...document.querySelectorAll('.js-plotly-plot')].map((plot) => plot.data[0]?.x?.length ?? 0)[0] ?? 0"
)
UNREACHED = "ERR_|network error|502|503"
ENDLESS = {"epochs": 5000, "early_stopping_patience": None, "batch_size": 8}


def mark(page):
    """Something that a reload would take away."""
    page.evaluate("globalThis.isStillThis = true")


def is_same(page):
    return page.evaluate("globalThis.isStillThis === true")


def await_points(window, more_than, *, seconds=60):
    window.until(f"({POINTS}) > {more_than}", seconds=seconds)
    return window.page.evaluate(POINTS)


@contextlib.contextmanager
def endless_training(service, tag):
    """A training that goes on until the test has ended."""
    job = service.submit(tag, **ENDLESS)
    try:
        yield job
    finally:
        if not service.job(job.id).is_terminal:
            service.heimdall.jobs.cancel(job)
        await_end(service, job)


def await_end(service, job):
    deadline = time.monotonic() + 60
    while not service.job(job.id).is_terminal:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_training_is_submitted_through_the_form_and_watched_to_its_end(window, dataset):
    page = window.page
    window.show("/jobs/new")
    page.locator("#field-dataset-name").select_option("tiny")
    page.get_by_label("Backbone", exact=True).select_option("micro")
    page.get_by_label("Name", exact=True).fill("watched")
    page.get_by_label("Epochs", exact=True).fill("40")
    page.get_by_label("Batch size").fill("8")
    expect(page.locator("#verdict")).to_contain_text("Ready")
    page.get_by_role("button", name="Queue the job").click()
    page.wait_for_url("**/jobs/job_*")
    mark(page)
    expect(page.locator("#badge")).to_have_text("running", timeout=60_000)
    first = await_points(window, 2)
    second = await_points(window, first + 2)
    window.picture("watching-a-training", whole=False)
    assert await_points(window, second) > second > first
    expect(page.locator("#badge")).to_have_text("succeeded", timeout=120_000)
    expect(page.get_by_role("link", name=re.compile(r"watched v\d"))).to_be_visible()
    assert is_same(page)
    page.get_by_role("tab", name="Result").click()
    result = page.get_by_role("tabpanel", name="Result")
    expect(result.get_by_text("Median error").first).to_be_visible()
    expect(result.get_by_role("figure").first).to_be_visible()
    window.settle()
    assert window.grave_findings() == []
    window.picture("result")
    page.get_by_role("tab", name="Log").click()
    expect(page.get_by_role("tabpanel", name="Log")).to_contain_text("epoch")
    window.picture("log", whole=False)


def test_a_job_comes_to_the_list_by_itself_and_is_cancelled_from_its_page(window, service, dataset):
    page = window.page
    window.show("/?tag=e2e:cancelled")
    mark(page)
    with endless_training(service, "cancelled") as job:
        row = page.locator("tbody#rows tr", has=page.get_by_role("link", name=job.id[:12]))
        expect(row).to_be_visible(timeout=15_000)
        expect(row).to_contain_text("running", timeout=60_000)
        assert is_same(page)
        row.get_by_role("link").first.click()
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Keep as it is").click()
        assert not service.job(job.id).is_terminal
        expect(page.get_by_role("button", name="Cancel")).to_be_focused()
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Cancel the job").click()
        expect(page.locator("#badge")).to_have_text("cancelled", timeout=30_000)
        assert service.job(job.id).status == "cancelled"


def test_several_jobs_are_cancelled_together(window, service, dataset):
    later = "2099-01-01T00:00:00Z"
    body = {"kind": "train", "dataset": {"name": "tiny"}, "not_before": later, "tags": {"e2e": "together"}}
    jobs = [service.heimdall.jobs.create(body) for _ in range(3)]
    page = window.page
    window.show("/?tag=e2e:together&status=queued")
    expect(page.locator("tbody#rows tr")).to_have_count(3)
    page.get_by_label("Select all jobs").check()
    page.get_by_role("button", name="Cancel 3 jobs").click()
    window.picture("cancel-together", whole=False)
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.locator("tbody#rows tr")).to_have_count(0, timeout=15_000)
    assert {service.job(job.id).status for job in jobs} == {"cancelled"}


def test_a_killed_api_is_waited_for_and_the_curves_go_on(window, service, dataset):
    page = window.page
    with endless_training(service, "killed") as job:
        window.show(f"/jobs/{job.id}")
        before = await_points(window, 2)
        mark(page)
        connection = page.locator("#connection")
        expect(connection).to_have_attribute("data-state", "open", timeout=20_000)
        service.kill_api()
        expect(connection).to_have_attribute("data-state", "lost", timeout=20_000)
        window.picture("connection-lost", whole=False)
        service.await_api()
        expect(connection).to_have_attribute("data-state", "open", timeout=45_000)
        assert await_points(window, before + 2) > before
        assert is_same(page)
        window.forgive(UNREACHED)
        page.get_by_role("button", name="Finish").click()
        page.get_by_role("button", name="Finish it").click()
        expect(page.locator("#badge")).to_have_text("succeeded", timeout=90_000)
        assert is_same(page)


@pytest.mark.parametrize("name", ["/", "/fleet", "/models/localization"])
def test_a_page_that_lists_outlives_the_api_too(window, service, trained, name):
    window.show(name)
    mark(window.page)
    connection = window.page.locator("#connection")
    expect(connection).to_have_attribute("data-state", "open", timeout=20_000)
    service.kill_api()
    expect(connection).to_have_attribute("data-state", "lost", timeout=20_000)
    service.await_api()
    expect(connection).to_have_attribute("data-state", "open", timeout=45_000)
    window.settle()
    assert is_same(window.page)
    window.forgive(UNREACHED)
