import math

import pytest

from fusion.errors import InputError
from zoo.config import Train
from zoo.schedule import Schedule, schedule_of

EXACT = 1e-12  # of products of the same factors in another order


def rates(schedule, *steps):
    return [schedule.at(step) for step in steps]


def settings(**changes):
    return Train(**{"segments": (), "warmup_steps": 0, **changes})


def test_segments_are_lengths_as_in_detectron():
    schedule = schedule_of(settings(segments=(60_000, 20_000, 10_000)), 1.0)
    assert schedule.total == 90_000
    assert rates(schedule, 0, 59_999) == [0.02, 0.02]
    assert rates(schedule, 60_000, 79_999) == pytest.approx([0.002] * 2, rel=EXACT)
    assert rates(schedule, 80_000, 89_999) == pytest.approx([0.0002] * 2, rel=EXACT)


def test_milestones_are_places_and_the_last_may_be_the_end():
    fine_tuning = settings(
        learning_rate=0.15 * 0.02, batch=128, milestones=(5_500, 7_500, 8_000), steps=8_000, gamma=0.2
    )
    schedule = schedule_of(fine_tuning, 1.0)
    assert (schedule.total, schedule.drops) == (8_000, (5_500, 7_500))
    # megdetv2, sec. 2.3 step 5: 0.15 x 0.16, by 0.2
    assert rates(schedule, 0, 5_499, 5_500, 7_499, 7_500, 7_999) == pytest.approx(
        [0.024, 0.024, 0.0048, 0.0048, 0.00096, 0.00096], rel=EXACT
    )


def test_the_rate_scales_linearly_with_the_batch():
    objects365 = schedule_of(settings(batch=128, segments=(40_000, 10_000, 5_000)), 1.0)
    assert objects365.at(0) == pytest.approx(0.16, rel=EXACT)
    assert objects365.total == 55_000
    assert schedule_of(settings(batch=24, epochs=28), 1.0).at(0) == pytest.approx(0.03, rel=EXACT)
    assert schedule_of(settings(batch=2, steps=10), 1.0).at(0) == pytest.approx(0.0025, rel=EXACT)


def test_a_schedule_in_epochs():
    # alibaba, sec. 4.1: 3e-2 until epoch 20, then a tenth at 20, 24, 26 and 27, 28 epochs in all
    plan = settings(batch=24, milestones=(20, 24, 26, 27), epochs=28, unit="epoch")
    schedule = schedule_of(plan, 100.0)
    assert schedule.total == 2_800
    steps = [0, 1_999, 2_000, 2_399, 2_400, 2_600, 2_700, 2_799]
    assert rates(schedule, *steps) == pytest.approx([3e-2, 3e-2, 3e-3, 3e-3, 3e-4, 3e-5, 3e-6, 3e-6], rel=EXACT)
    # mmfruit, sec. 6: warm-up from .001 to .004 N, divided by 10 at 9 and 11 of 13 epochs, batch 2 N
    cards = 8
    fruit = settings(
        batch=2 * cards,
        reference_batch=2,
        learning_rate=0.004,
        milestones=(9, 11),
        epochs=13,
        unit="epoch",
        warmup_steps=500,
        warmup_factor=0.001 / (0.004 * cards),
    )
    schedule = schedule_of(fruit, 1_000.5)
    assert (schedule.total, schedule.drops) == (13_006, (9_004, 11_006))
    assert rates(schedule, 0, 250, 500, 9_003, 9_004, 11_006) == pytest.approx(
        [0.001, 0.0165, 0.032, 0.032, 0.0032, 0.00032], rel=EXACT
    )


def test_polynomial_decay():
    # mmfruit, sec. 8.3: rate 0.08, power 0.9, 200K steps
    schedule = schedule_of(settings(learning_rate=0.08, poly=0.9, steps=200_000), 1.0)
    assert rates(schedule, 0, 100_000, 200_000) == pytest.approx([0.08, 0.08 * 0.5**0.9, 0.0], rel=EXACT)


def test_a_cosine_falls_from_the_end_of_the_warm_up_to_its_share():
    schedule = schedule_of(settings(steps=110, cosine=0.1, warmup_steps=10, warmup_factor=0.5), 1.0)
    base = schedule.base
    found = rates(schedule, 0, 5, 10, 35, 60, 85, 110, 200)
    half, quarter = 0.55, (1 + math.cos(math.pi / 4)) / 2 * 0.9 + 0.1
    expected = [0.5, 0.75, 1.0, quarter, half, 1.1 - quarter, 0.1, 0.1]
    assert found == pytest.approx([base * share for share in expected], rel=EXACT)


def test_warm_up_is_linear_and_ends_at_the_rate():
    schedule = Schedule(base=1.0, total=100, warmup_steps=4, warmup_factor=0.2)
    assert rates(schedule, 0, 1, 2, 3, 4, 99) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0], rel=EXACT)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({}, "neither steps, epochs nor segments"), ({"steps": 10, "milestones": (11,)}, "comes after the end")],
)
def test_a_schedule_without_an_end_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        schedule_of(settings(**wrong), 1.0)
