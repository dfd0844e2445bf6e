"""What an attempt has used is known, whether its trainer lives to tell or not."""

import os

from worker.usage import EpochClock, peak_of, used_memory


def test_a_trainer_tells_the_most_that_it_has_had():
    ballast = bytearray(50_000_000)
    peak = used_memory()["peak_host_bytes"]
    del ballast
    assert peak > 50_000_000
    assert used_memory()["peak_host_bytes"] >= peak


def test_the_peak_of_another_process_is_read_from_outside(tmp_path):
    assert peak_of(os.getpid()) > 1_000_000
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "status").write_text("Name:\tpython\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n")
    assert peak_of(7, tmp_path) == 2_097_152
    assert peak_of(8, tmp_path) is None


def test_an_epoch_is_timed_with_its_validation_and_without_what_comes_before_and_after():
    clock = EpochClock()
    assert clock.phase("preparing", 0.0) is None
    clock.progress(None)
    assert clock.phase("training", 10.0) is None
    for epoch in (3, 3, 4, 5):  # resumed in the third
        clock.progress(epoch)
    assert clock.phase("evaluating", 40.0) == 10.0
    assert clock.phase("exporting", 90.0) is None


def test_a_training_that_ended_before_its_first_step_has_no_epoch():
    clock = EpochClock()
    clock.phase("training", 10.0)
    assert clock.phase("evaluating", 40.0) is None
