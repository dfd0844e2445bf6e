"""No line of the source reads a file in a way that could run what is in it, or write beyond its folder."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "worker", "heimdall_core", "client")
#: Our own bytes, from our own child over a pipe.
OWN_PICKLES = {"heimdall_core/training/ranks.py"}
NEVER = {
    "eval",
    "exec",
    "marshal.loads",
    "shelve.open",
    "joblib.load",
    "os.system",
    "yaml.load",
    "torch.jit.load",
    "torch.hub.load",
    "mlflow.pyfunc.load_model",
    "mlflow.pytorch.load_model",
}
NEVER_METHODS = {"extractall", "load_from_checkpoint", "unpack_archive", "read_pickle"}


@pytest.fixture(scope="module")
def calls():
    """Each call in the source: file and line, what is called, and its keywords."""
    found = []
    for path in (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))):
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                found.append((f"{name}:{node.lineno}", ast.unparse(node.func), keywords))
    assert len(found) > 5000, "the source was found"
    return found


def places(calls, is_meant):
    return [place for place, function, keywords in calls if is_meant(function, keywords)]


def test_nothing_that_runs_what_it_reads_is_called(calls):
    def is_meant(function, _keywords):
        method = function.rpartition(".")[2] if "." in function else ""
        return function in NEVER or method in NEVER_METHODS

    assert places(calls, is_meant) == []


def test_pickles_are_read_from_our_own_child_alone(calls):
    def is_meant(function, _keywords):
        return function.removeprefix("_").startswith(("pickle.load", "cloudpickle.load", "dill.load"))

    assert {place.partition(":")[0] for place in places(calls, is_meant)} == OWN_PICKLES


def test_checkpoints_are_loaded_as_tensors_and_plain_values(calls):
    loads = [call for call in calls if call[1] == "torch.load"]
    assert loads, "there is one"
    assert [place for place, _, keywords in loads if keywords.get("weights_only") != "True"] == []
    fits = [call for call in calls if call[1] == "trainer.fit"]
    assert fits, "there is one"
    assert [place for place, _, keywords in fits if keywords.get("weights_only") != "True"] == []


def test_arrays_are_loaded_without_objects(calls):
    def is_meant(function, keywords):
        is_load = function in {"np.load", "numpy.load", "np.lib.format.read_array"}
        return is_load and keywords.get("allow_pickle", "False") != "False"

    assert places(calls, is_meant) == []


def test_pretrained_weights_bring_no_code(calls):
    loads = [call for call in calls if call[1].endswith(".from_pretrained")]
    assert loads, "there is one"
    assert [place for place, _, keywords in loads if "trust_remote_code" in keywords] == []


def test_no_command_line_goes_through_a_shell(calls):
    assert places(calls, lambda _function, keywords: keywords.get("shell", "False") != "False") == []


def test_yaml_and_xml_are_not_read_from_outside(calls):
    assert places(calls, lambda function, _: function.startswith(("yaml.", "ElementTree.", "xml."))) == []
