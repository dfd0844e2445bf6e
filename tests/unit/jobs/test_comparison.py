"""In what specifications differ."""

from heimdall_core.jobs.comparison import differences


def test_equal_specifications_do_not_differ():
    assert list(differences([{"a": {"b": 1}}, {"a": {"b": 1}}])) == []


def test_each_member_that_differs_is_told_with_the_value_of_each():
    specs = [
        {"kind": "train", "training": {"epochs": 3, "x/y": 1}, "tags": {}},
        {"kind": "train", "training": {"epochs": 5, "x/y": 1}, "tags": {"a": "1"}},
        {"kind": "train", "training": {"epochs": 3, "x/y": 2}, "tags": {}},
    ]
    assert list(differences(specs)) == [
        {"pointer": "/tags", "values": [{}, None, {}]},
        {"pointer": "/tags/a", "values": [None, "1", None]},
        {"pointer": "/training/epochs", "values": [3, 5, 3]},
        {"pointer": "/training/x~1y", "values": [1, 1, 2]},
    ]
