"""Metrics, the page that lists them, alert rules and runbooks agree."""

import re

import pytest
import yaml

PROMQL = {"max", "sum", "by", "and", "on", "rate", "increase", "histogram_quantile", "up", "instance", "le"}
LABELS = re.compile(r"\{[^}]*\}")


@pytest.fixture(scope="module")
def rules(root):
    groups = yaml.safe_load((root / "deploy/prometheus/alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def names_in(expression):
    """The metrics that a PromQL expression reads."""
    text = re.sub(r"\b(by|on) \([^)]*\)", "", LABELS.sub("", expression))
    return {name for name in re.findall(r"[a-z_]{2,}", text) if name not in PROMQL}


@pytest.fixture(scope="module")
def told():
    """Every name under which Prometheus finds a metric of ours."""
    from prometheus_client import CollectorRegistry, Counter, Histogram

    from api.metrics import ServiceMetrics

    metrics = ServiceMetrics(None, None)
    found = {}
    for metric in vars(metrics).values():
        if isinstance(metric, CollectorRegistry) or not hasattr(metric, "describe"):
            continue
        (family,) = metric.describe()
        suffixes = [""]
        if isinstance(metric, Counter):
            suffixes = ["_total"]
        elif isinstance(metric, Histogram):
            suffixes = ["_bucket", "_count", "_sum"]
        found[family.name] = {family.name + suffix for suffix in suffixes}
    return found


def test_rules_read_only_metrics_that_there_are(rules, told):
    known = set().union(*told.values())
    for name, rule in rules.items():
        assert names_in(rule["expr"]) <= known, name


def test_each_metric_is_documented_and_some_rule_watches_it(root, rules, told):
    page = (root / "docs/monitoring.md").read_text()
    watched = set().union(*(names_in(rule["expr"]) for rule in rules.values()))
    for family, names in told.items():
        assert names & watched, family
        assert family in page or family.removesuffix("_limit") in page, family


def test_each_rule_has_a_page_of_its_own_that_says_what_to_do(root, rules):
    pages = {rule["annotations"]["runbook"] for rule in rules.values()}
    assert pages == {f"docs/runbooks/{path.name}" for path in (root / "docs/runbooks").glob("*.md")}
    assert len(pages) == len(rules)
    for name, rule in rules.items():
        page = (root / rule["annotations"]["runbook"]).read_text()
        assert page.startswith(f"# {name}\n"), name
        assert f"`{rule['expr']}`" in page, name
        assert [line for line in page.splitlines() if line.startswith("## ")] == [
            "## What it means",
            "## Look",
            "## Do",
        ]


def test_commands_of_runbooks_are_commands(root):
    from typer.main import get_command

    from heimdall_core.cli.main import app

    tree = get_command(app)
    for path in (root / "docs/runbooks").glob("*.md"):
        for words in re.findall(r"`heimdall ([a-z]+(?: [a-z]+)?)", path.read_text()):
            first, *rest = words.split()
            command = tree.commands[first]
            if hasattr(command, "commands"):
                assert rest, (path.name, words)
                assert rest[0] in command.commands, (path.name, words)
