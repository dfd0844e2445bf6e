"""The job engine's use cases: submit, read, cancel, claim, report, finish, reap. No torch here."""
