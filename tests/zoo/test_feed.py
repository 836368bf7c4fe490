from itertools import chain, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusion.errors import InputError
from zoo.feed import Feed, Position, Share


def orders(lengths):
    return lambda epoch: [((7 * epoch + 3 * place) % 5, place) for place in range(lengths[epoch % len(lengths)])]


def endless(order):
    """Keys of all epochs, one after the other."""
    epoch = 0
    while True:
        seen = []
        for index, drawn in order(epoch):
            yield epoch, index, seen.count(index), drawn, 0
            seen.append(index)
        epoch += 1


@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    accumulate=st.integers(1, 3),
    world=st.integers(1, 3),
    size=st.integers(1, 3),
    start=st.integers(0, 6),
)
def test_all_processes_together_see_every_image_once_in_order(lengths, accumulate, world, size, start):
    order, batch, steps = orders(lengths), accumulate * world * size, 5
    position = Position()
    first = Feed(Share(order, batch))
    for _ in range(start):
        position = first.after(position)
    wanted = list(islice(endless(order), start * batch, (start + steps) * batch))
    ranks = [Feed(Share(order, batch), accumulate=accumulate, rank=rank, world=world) for rank in range(world)]
    streams = [list(islice(feed.micro_batches(position), accumulate * steps)) for feed in ranks]
    for step in range(steps):
        found = [list(chain(*stream[accumulate * step : accumulate * (step + 1)])) for stream in streams]
        assert {len(keys) for keys in found} == {accumulate * size}
        assert [keys for together in zip(*found, strict=True) for keys in together] == wanted[
            step * batch : (step + 1) * batch
        ]


def test_positions_cross_epochs_of_different_lengths():
    feed = Feed(Share(orders([3, 1]), 2))
    position, passed = Position(), []
    for _ in range(4):
        position = feed.after(position)
        passed.append((position.epoch, position.offset))
    assert passed == [(0, 2), (2, 0), (2, 2), (4, 0)]


@pytest.mark.parametrize(("batch", "accumulate", "world"), [(3, 2, 1), (4, 1, 3), (0, 1, 1), (2, 0, 1)])
def test_steps_that_cannot_be_cut_evenly_are_refused(batch, accumulate, world):
    with pytest.raises(InputError, match=r"train\.batch"):
        Feed(Share(orders([3]), batch), accumulate=accumulate, world=world)


def test_no_image_at_all_is_refused():
    with pytest.raises(InputError, match="no image"):
        Feed(Share(lambda epoch: [], 1)).after(Position())


@pytest.mark.parametrize(("accumulate", "world"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_streams_run_side_by_side(accumulate, world):
    shares = Share(orders([3, 5]), 4), Share(orders([2, 7, 1]), 8)
    alone = [list(islice(endless(share.order), 5 * share.images)) for share in shares]
    ranks = [Feed(*shares, accumulate=accumulate, rank=rank, world=world) for rank in range(world)]
    position, first = Position(), ranks[0]
    for step in range(5):
        micro = [list(islice(feed.micro_batches(position), accumulate)) for feed in ranks]
        assert all(
            [sum(key.stream == number for key in keys) * accumulate * world for number in (0, 1)] == [4, 8]
            for own in micro
            for keys in own
        )
        for number, share in enumerate(shares):
            found = [key[:4] for own in micro for keys in own for key in keys if key.stream == number]
            wanted = [key[:4] for key in alone[number][step * share.images : (step + 1) * share.images]]
            assert sorted(found) == sorted(wanted)
        position = first.after(position)
    assert len(position.others) == 1
