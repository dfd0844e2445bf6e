import threading

from heimdall_core.cli.doctor_findings import Check, State, broken, fine, run_checks


def test_findings_come_in_the_order_of_the_checks_whichever_is_done_first():
    second_done = threading.Event()

    def first():
        assert second_done.wait(5)
        return [fine("a", "1"), fine("a", "2")]

    def second():
        second_done.set()
        return [fine("b", "3")]

    found = run_checks([Check(subject="a", run=first), Check(subject="b", run=second)])
    assert [f.message for f in found] == ["1", "2", "3"]


def test_a_check_that_hangs_is_a_failure_and_holds_nothing_up():
    never = threading.Event()
    hanging = Check(subject="redis", run=lambda: [fine("redis", str(never.wait(30)))], limit_seconds=0.05)
    (found,) = run_checks([hanging])
    never.set()
    assert (found.subject, found.state) == ("redis", State.FAILED)
    assert "no answer within" in found.message
    assert found.remedy


def test_a_check_that_breaks_hides_no_other():
    def breaks():
        raise ZeroDivisionError("by\nzero")

    found = run_checks([Check(subject="a", run=breaks), Check(subject="b", run=lambda: [fine("b", "well")])])
    assert [f.state for f in found] == [State.FAILED, State.OK]
    assert found[0].message == "the check itself failed: ZeroDivisionError: by zero"


def test_a_finding_as_json_says_everything():
    assert broken("s3", "away", "start it").to_dict() == {
        "subject": "s3",
        "state": "failed",
        "message": "away",
        "remedy": "start it",
    }
