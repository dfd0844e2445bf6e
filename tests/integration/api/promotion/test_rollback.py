"""Back to the previous version: by whom it is meant, and once."""

from concurrent.futures import ThreadPoolExecutor

from tests.integration.api.promotion.registry import MODEL, aliases, problem, promote


def test_a_rollback_without_a_previous_version_is_a_conflict(client, registry):
    registry.train()
    problem(client.post(f"{MODEL}:rollback"), 409, "no_previous_version")
    promote(client, 1)
    problem(client.post(f"{MODEL}:rollback"), 409, "no_previous_version")
    assert aliases(client) == (1, None)


def test_a_rollback_swaps_champion_and_previous(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, promote="if_better")
    assert aliases(client) == (2, 1)
    answer = client.post(f"{MODEL}:rollback", json={"reason": "wrong at Aosta", "champion_version": 2})
    assert answer.status_code == 200, answer.text
    assert aliases(client) == (1, 2)
    event = answer.json()["event"]
    assert (event["event"], event["version"], event["former_version"]) == ("model.rolled_back", 1, 2)
    assert event["reason"] == "wrong at Aosta"
    names = {v["version"]: v["aliases"] for v in client.get(f"{MODEL}/versions").json()["data"]}
    assert names == {1: ["champion"], 2: ["previous"]}
    client.post(f"{MODEL}:rollback")
    assert aliases(client) == (2, 1)


def test_a_rollback_of_another_champion_than_the_caller_saw_does_nothing(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, promote="if_better")
    problem(client.post(f"{MODEL}:rollback", json={"champion_version": 1}), 409, "champion_changed")
    assert aliases(client) == (2, 1)


def test_an_idempotency_key_gets_the_first_answer_again(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, promote="if_better")
    headers = {"Idempotency-Key": '"k"'}
    first = client.post(f"{MODEL}:rollback", headers=headers)
    again = client.post(f"{MODEL}:rollback", headers=headers)
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert aliases(client) == (1, 2), "it was rolled back once"
    problem(client.post(f"{MODEL}/versions/2:promote", headers=headers), 422, "idempotency_key_reused")


def test_rollbacks_at_once_of_one_champion_swap_once(client, registry):
    registry.train(1000.0, promote="if_better")
    registry.train(900.0, promote="if_better")
    body = {"champion_version": 2}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: client.post(f"{MODEL}:rollback", json=body), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert aliases(client) == (1, 2)
