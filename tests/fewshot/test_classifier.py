"""Labelled evidence adds and subtracts, one by one or all at once."""

from hashlib import sha256

import pytest
import torch

from fewshot_data import few, latents
from transflow.fewshot.classifier import FewShot


def test_one_by_one_is_all_at_once():
    rows, labels = latents()
    whole, _ = few(rows, labels)
    parts = FewShot()
    for i in range(len(rows)):
        parts, _ = few(rows[i : i + 1], labels[i : i + 1], parts)
    query = {"latents": torch.randn(6, 8, dtype=torch.float64)}
    torch.testing.assert_close(parts.ensemble.scores(query), whole.ensemble.scores(query))


def test_removing_is_never_having_added():
    rows, labels = latents()
    whole, keys = few(rows, labels)
    never, _ = few(rows[:12], labels[:12])
    less = whole.remove(labels[12:].tolist(), keys[12:], dict)
    query = {"latents": torch.randn(6, 8, dtype=torch.float64)}
    torch.testing.assert_close(less.ensemble.scores(query), never.ensemble.scores(query))
    gone = whole.remove([2] * 5, [k for k, c in zip(keys, labels.tolist(), strict=True) if c == 2], dict)
    assert gone.classes == (0, 1)
    assert set(gone.labels.tolist()) == {0, 1}
    with pytest.raises(ValueError, match="are not"):
        whole.remove([0], keys[1:2], dict)


def test_sums_go_on_past_the_rows_that_are_kept(monkeypatch):
    rows, labels = latents(n=20, copies=1)
    whole, _ = few(rows, labels, noise="pooled")
    monkeypatch.setattr("transflow.fewshot.classifier.KEPT_ROWS", 15)
    some, keys = few(rows[:30], labels[:30], noise="pooled")
    some, keys_2 = few(rows[30:], labels[30:], some)
    assert len(some.labels) == 15
    assert some.counts == [20, 20, 20]
    query = {"latents": torch.randn(6, 8, dtype=torch.float64)}
    torch.testing.assert_close(
        some.ensemble.members[0].log_density(query["latents"]), whole.ensemble.members[0].log_density(query["latents"])
    )
    both = [*keys, *keys_2]
    less = some.remove(labels[10:20].tolist(), both[10:20], lambda: {"latents": rows[10:20]})
    rest = torch.cat([torch.arange(10), torch.arange(20, 60)])
    fresh, _ = few(rows[rest], labels[rest], noise="pooled")
    torch.testing.assert_close(
        less.ensemble.members[0].log_density(query["latents"]), fresh.ensemble.members[0].log_density(query["latents"])
    )


def test_the_rows_that_are_kept_are_of_all_classes_and_the_same_in_any_order(monkeypatch):
    rows, labels = latents(n=40, copies=1)
    monkeypatch.setattr("transflow.fewshot.classifier.KEPT_ROWS", 30)
    order = labels.argsort()
    keys = [sha256(row.numpy().tobytes()).hexdigest() for row in rows]

    def added(parts):
        found = FewShot("pooled")
        for part in parts:
            named = [labels[i].item() for i in part], [keys[i] for i in part]
            found = found.add({"latents": rows[part]}, *named)
        return found

    once, bit_by_bit = added([order]), added(order.flip(0).split(7))
    assert set(once.keys) == set(bit_by_bit.keys)
    assert len(once.keys) == 30
    assert min(once.labels.bincount(minlength=3)) >= 4
    by_key = dict(zip(keys, rows[:, 0], strict=True))
    for key, row in zip(bit_by_bit.keys, bit_by_bit.feature_sets["latents"].rows[:, 0], strict=True):
        assert torch.equal(row, by_key[key])
