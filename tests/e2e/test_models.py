"""Versions compared side by side, the gate's verdict before a promotion, and the way back."""

import pytest
from playwright.sync_api import expect


@pytest.fixture
def other(service, trained):
    """A version that is not the champion."""
    champion = service.champion()
    versions = [job.result["model"]["version"] for job in trained]
    return next(version for version in versions if version != champion)


def test_two_versions_are_compared(window, service, other):
    champion = service.champion()
    page = window.page
    window.show("/models/localization")
    for version in (champion, other):
        page.get_by_label(f"Compare version {version}", exact=True).check()
    page.get_by_role("link", name="Compare").click()
    page.wait_for_url("**/compare?*")
    window.settle()
    expect(page.get_by_role("heading", name="Compare two versions")).to_be_visible()
    expect(page.get_by_role("table").first).to_contain_text("Median error")
    assert page.get_by_role("alert").count() == 0


def test_a_version_is_promoted_past_the_gate_with_a_reason_and_rolled_back(window, service, other):
    page = window.page
    champion = service.champion()
    window.show(f"/models/localization?version={other}")
    page.get_by_role("button", name="Promote", exact=True).click()
    dialog = page.get_by_role("dialog").filter(has_text="Median error")
    expect(dialog).to_be_visible()
    window.picture("the-gate-says", whole=False)
    assert window.grave_findings() == []
    if (reason := dialog.get_by_role("textbox")).count():
        reason.fill("to see the way back")
    dialog.get_by_role("button", name="Promote").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_text(f"champion v{other}")).to_be_visible()
    assert service.champion() == other
    page.get_by_role("button", name=f"Roll back to v{champion}").click()
    page.get_by_role("button", name=f"Roll back to version {champion}").click()
    expect(page.get_by_text(f"champion v{champion}")).to_be_visible()
    assert service.champion() == champion
