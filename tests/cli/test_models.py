"""The command `models` prints the cards."""

import json


def test_models_are_listed_with_their_cards(run):
    status, out, _ = run("models", "--json")
    assert status == 0
    assert {"bits_per_dim", "data", "licence"} <= set(json.loads(out)["faces-32"])
    assert "faces-32" in run("models")[1]
