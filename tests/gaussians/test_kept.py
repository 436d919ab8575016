"""Kept latents: a choice that depends on neither order nor cuts, and what is taken out of it."""

import hashlib
import pickle

import pytest
import torch

from transflow.gaussians.kept import Kept

KEYS = [hashlib.sha256(bytes([i])).hexdigest()[:32] for i in range(40)]
ROWS = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))


def kept(numbers, limit=10):
    return Kept.of(ROWS[list(numbers)], [KEYS[i] for i in numbers], limit=limit)


def same(a, b):
    assert (a.keys, a.counts, a.left_out, a.beyond, a.count) == (b.keys, b.counts, b.left_out, b.beyond, b.count)
    assert torch.equal(a.rows, b.rows)


def test_what_is_held_are_the_smallest_keys_with_their_own_latents():
    held = kept(range(40))
    assert list(held.keys) == sorted(KEYS)[:10]
    assert held.beyond == sorted(KEYS)[10]
    assert (len(held), held.count, held.left_out) == (10, 40, 30)
    assert torch.equal(held.rows, torch.stack([ROWS[KEYS.index(key)] for key in held.keys]))


@pytest.mark.parametrize("limit", [1, 10, 100])
def test_order_and_cuts_do_not_matter(limit):
    whole = kept([*range(40), 3, 3, 7], limit)
    one_by_one = Kept.none(6, limit=limit)
    for i in [3, *reversed(range(40)), 7, 3]:
        one_by_one = one_by_one + kept([i], limit)
    same(one_by_one, whole)
    workers = kept(range(25), limit) + (kept(range(25, 40), limit) + kept([3, 7, 3], limit))
    same(workers, whole)
    same(whole + Kept.none(6, limit=limit), whole)
    same(pickle.loads(pickle.dumps(whole)), whole)


def test_taken_out_of_all_that_is_held_equals_never_seen():
    same(kept([*range(9), 4]).remove([KEYS[4]]), kept(range(9)))
    same(kept([*range(9), 4]).remove([KEYS[4], KEYS[4]]), kept([0, 1, 2, 3, 5, 6, 7, 8]))
    same(kept(range(3)).remove(KEYS[:3]), Kept.none(6, limit=10))


def test_taken_out_of_more_than_is_held_leaves_a_choice_below_the_same_key():
    held = kept(range(40))
    in_it, not_in_it = held.keys[4], sorted(KEYS)[20]
    without = held.remove([in_it, not_in_it])
    assert without.keys == held.keys[:4] + held.keys[5:]
    assert (without.count, without.beyond) == (38, held.beyond)
    same(
        without + kept([KEYS.index(sorted(KEYS)[12])]),
        held.remove([in_it, not_in_it]) + kept([KEYS.index(sorted(KEYS)[12])]),
    )
    assert sorted(KEYS)[12] not in (without + kept([KEYS.index(sorted(KEYS)[12])])).keys  # it is beyond
    assert held.remove(sorted(KEYS)[10:]).beyond == ""  # all that is left is held


def test_taking_out_what_is_not_there_or_all_that_is_held_is_refused():
    with pytest.raises(ValueError, match="got one that is not"):
        kept(range(5)).remove([KEYS[7]])
    with pytest.raises(ValueError, match="got one that is not"):
        kept(range(5)).remove([KEYS[2], KEYS[2]])
    held = kept(range(40))
    with pytest.raises(ValueError, match="30 others came whose latents are not kept"):
        held.remove(held.keys)


def test_without_keys_equal_latents_are_one_picture():
    held = Kept.of(ROWS[[0, 1, 0]])
    assert (len(held), sorted(held.counts), held.count) == (2, [1, 2], 3)


def test_latents_far_too_long_are_known():
    rows = torch.randn(9, 400, generator=torch.Generator().manual_seed(1))
    rows[4] *= 3
    held = Kept.of(rows, [f"{i:032x}" for i in range(9)])
    assert held.long.nonzero().flatten().tolist() == [4]
    assert held.usable().tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert len(held.usable(long=True)) == 9
    assert not Kept.of(rows[4:5] / 3).long.any()
    assert not Kept.of(0.6 * rows[:4]).long.any()


@pytest.mark.parametrize("bad", [torch.zeros(3), torch.full((2, 3), torch.nan)])
def test_bad_latents_are_refused(bad):
    with pytest.raises(ValueError, match="Expected finite latents"):
        Kept.of(bad)
    with pytest.raises(ValueError, match="a key for each"):
        Kept.of(torch.zeros(2, 3), ["a"])
