"""The form of a new job: made from the schema, checked while one types, sent once, and the same as a command."""

import json
import os
import re
import subprocess
import sys
from uuid import uuid4

from playwright.sync_api import expect


def open_form(window, query=""):
    window.show(f"/jobs/new{query}")
    return window.page


def test_what_is_typed_is_checked_and_told_at_its_field(window, dataset):
    page = open_form(window)
    page.get_by_label("Dataset", exact=False).first.select_option("tiny")
    page.get_by_label("Epochs", exact=True).fill("many")
    epochs = page.get_by_label("Epochs", exact=True)
    expect(epochs).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#field-training-epochs-error")).to_contain_text("'many' is not a valid value")
    expect(page.get_by_role("status").filter(has_text="problem")).to_have_text("1 problem")
    epochs.fill("3")
    expect(page.locator("#verdict")).to_have_text("Ready")
    expect(epochs).not_to_have_attribute("aria-invalid", "true")
    page.get_by_label("Batch size").fill("64")
    expect(page.locator("#field-training-batch_size-error")).to_contain_text("more than the")
    expect(page.locator("#estimates")).to_contain_text("Sessions")
    assert window.grave_findings() == []
    page.evaluate("scrollTo(0, 0)")
    window.picture("new-job", whole=False)


def test_a_problem_in_a_folded_field_opens_it_and_takes_the_focus(window, dataset):
    page = open_form(window, "?dataset.name=tiny&resources.num_nodes=2")
    nodes = page.get_by_label("Number of nodes")
    expect(nodes).to_be_visible()
    expect(page.locator("#field-resources-num_nodes-error")).to_contain_text("Use 1")
    page.get_by_role("button", name="Queue the job").click()
    expect(nodes).to_be_focused()
    expect(page).to_have_url(f"{window.url}/jobs/new?dataset.name=tiny&resources.num_nodes=2")


def test_the_form_and_its_json_follow_each_other(window, dataset):
    page = open_form(window)
    page.get_by_label("Dataset", exact=False).first.select_option("tiny")
    text = page.get_by_role("textbox", name="Request as JSON")
    assert json.loads(text.input_value()) == {"kind": "train", "dataset": {"name": "tiny"}}
    body = {"kind": "train", "dataset": {"name": "tiny"}, "training": {"epochs": 7}, "colour": "red"}
    text.fill(json.dumps(body))
    expect(page.get_by_label("Epochs", exact=True)).to_have_value("7")
    expect(page.locator("#findings")).to_contain_text("unknown field")
    page.get_by_label("Batch size").fill("8")
    body["training"]["batch_size"] = 8
    assert json.loads(text.input_value()) == body
    page.get_by_label("Batch size").fill("32")
    del body["training"]["batch_size"]
    assert json.loads(text.input_value()) == body, "what equals the default is left out"
    text.fill("{")
    expect(page.locator("#json-error")).to_contain_text("no JSON")


def test_lists_switches_and_what_may_be_left_out(window, trained):
    page = open_form(window)
    page.get_by_label("Dataset", exact=False).first.select_option("tiny")
    for fold in page.locator("details[data-group] > summary").all():
        fold.click()
    page.get_by_label("Radio map").check()
    page.get_by_label("Reach (m)").fill("500")
    page.get_by_label("no clipping").check()
    page.get_by_role("button", name="Add output").click()
    page.get_by_role("group", name="Output 2").get_by_label("Precision").select_option("fp16")
    page.get_by_role("button", name="Add tag").click()
    page.get_by_label("Tag name").fill("site")
    page.get_by_label("Tag value").fill("giaveno")
    page.get_by_label("Init from").first.check()
    page.locator("#field-init_from-name").select_option("localization")
    page.locator("#field-init_from-version").select_option("1")
    page.get_by_label("Backbone", exact=True).select_option("micro")
    expect(page.locator("#verdict")).to_contain_text("Ready")
    assert json.loads(page.get_by_role("textbox", name="Request as JSON").input_value()) == {
        "kind": "train",
        "dataset": {"name": "tiny"},
        "model": {"backbone": "micro"},
        "training": {"radio_map": {"reach_m": 500}, "gradient_clip": None},
        "export": {"outputs": [{}, {"precision": "fp16"}]},
        "tags": {"site": "giaveno"},
        "init_from": {"name": "localization", "version": 1},
    }
    assert window.grave_findings() == []


def test_a_clone_is_filled_with_what_differs_from_the_defaults(window, trained):
    page = open_form(window, f"?clone={trained[0].id}")
    assert json.loads(page.get_by_role("textbox", name="Request as JSON").input_value()) == {
        "kind": "train",
        "dataset": {"name": "tiny", "version": 1},
        "model": {"backbone": "micro"},
        "training": {"epochs": 6, "batch_size": 16, "seed": 1},
        "tags": {"e2e": "trained"},
    }
    expect(page.get_by_label("Seed")).to_have_value("1")
    expect(page.locator("#estimates")).to_contain_text("Same as")
    expect(page.locator("#estimates")).to_contain_text(re.compile(r"Takes.*as \d+ like jobs did"))


def test_an_evaluation_is_asked_for_by_keyboard_alone(window, service, trained):
    page = open_form(window)
    page.get_by_label("Train", exact=True).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Evaluate", exact=True)).to_be_checked()
    for control, letter in (("#field-dataset-name", "t"), ("#field-model-name", "l")):
        expect(page.locator(f"{control} option")).not_to_have_count(1)
        press_until_focused(page, control)
        page.keyboard.press(letter)
    expect(page.locator("#verdict")).to_have_text("Ready")
    press_until_focused(page, "#submit")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/job_*")
    job = service.job(page.url.rsplit("/", 1)[1])
    assert (job.kind, job.spec["dataset"]["name"], job.spec["model"]["name"]) == (
        "evaluate",
        "tiny",
        "localization",
    )
    service.finished(job.id)


def press_until_focused(page, selector):
    for _ in range(80):
        if page.evaluate("(one) => document.activeElement?.matches(one)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} is not reached with Tab")


def test_pressing_twice_queues_one_job(window, service, dataset):
    tag = uuid4().hex
    page = open_form(window, f"?dataset.name=tiny&model.backbone=micro&training.epochs=1&tags.e2e={tag}")
    expect(page.locator("#verdict")).to_contain_text("Ready")
    page.get_by_role("button", name="Queue the job").dblclick()
    page.wait_for_url("**/jobs/job_*")
    (job,) = service.tagged(tag)
    service.finished(job.id)


def test_the_commands_run_as_they_are(window, service, dataset, tmp_path):
    page = open_form(window, "?dataset.name=tiny&model.backbone=micro&training.epochs=1&tags.e2e=command")
    expect(page.locator("#verdict")).to_contain_text("Ready")
    page.get_by_label("Batch size").fill("9")
    environment = {**os.environ, "HEIMDALL_API_KEY": service.key}
    curl = ran(["bash", "-c", page.locator("#curl").text_content()], environment)
    job = json.loads(curl)
    assert job["spec"]["training"]["batch_size"] == 9
    program = tmp_path / "submit.py"
    program.write_text(page.locator("#python").text_content())
    told = ran([sys.executable, str(program)], environment)
    other = service.job(told.split()[0])
    assert other.spec == job["spec"]
    assert "succeeded" in told
    service.finished(job["id"])


def ran(command, environment):
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
