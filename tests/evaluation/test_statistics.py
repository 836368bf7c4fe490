"""The bootstrap and the comparison of entries: draws, intervals that cover, words that fit."""

from dataclasses import replace

import numpy as np
import pytest

from evaluation import Coco, GroundTruth, Lvis, prepare
from evaluation.comparison import compare
from evaluation.ground_truth import Labels
from evaluation.open_images import prepare_open_images
from evaluation.statistics import Replicates, bootstrap, draw
from fusion.errors import InputError
from fusion.table import DetectionTable, Metadata
from tests.evaluation.cases import arrays, ground_truth, random_case
from tests.evaluation.test_lvis import federated_case, lvis_truth


def measured(seed=0, **options):
    dataset, results = random_case(seed, **({"images": 12, "truths": 60, "results": 300} | options))
    return prepare(ground_truth(dataset), Coco()).evaluate_arrays(**arrays(results))


class TestDraws:
    def test_as_many_are_drawn_as_there_are(self):
        weights = np.concatenate(list(draw(7, 300, 0)))
        assert weights.shape == (300, 7)
        assert (weights.sum(axis=1) == 7).all()
        assert abs(weights.mean() - 1) < 1e-12
        assert 0.7 < weights.var() < 1  # 6 / 7 on average

    def test_a_replicate_does_not_depend_on_how_many_are_wanted(self):
        some, more = (np.concatenate(list(draw(9, count, 4))) for count in (130, 1000))
        np.testing.assert_array_equal(some, more[:130])
        assert not np.array_equal(some, np.concatenate(list(draw(9, 130, 5))))

    def test_the_draws_stay_as_they_are(self):
        # saved leaderboards are only comparable while the draws stay as they are
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("evaluation.statistics._DRAWN", 1)
            few = list(draw(9, 130, 4))
        assert [len(part) for part in few] == [32, 32, 32, 32, 2]
        assert np.array_equal(np.concatenate(few), np.concatenate(list(draw(9, 130, 4))))
        assert next(draw(5, 2, 0)).tolist() == [[0, 2, 1, 1, 1], [4, 0, 0, 0, 1]]


class TestBootstrap:
    def test_observed_figures_are_those_of_the_result(self):
        result = measured()
        entry = bootstrap(result, replicates=50)
        for name, value in entry.observed.items():
            assert value == pytest.approx(getattr(result, name), abs=1e-13) or (value != value)
        np.testing.assert_allclose(entry.category_observed, result.average_precision_per_category, atol=1e-13)

    def test_replicates_are_means_over_the_categories_that_they_have(self):
        result = measured(images=4, truths=8)
        entry = bootstrap(result, replicates=40)
        weights = np.concatenate(list(draw(4, 40, 0)))
        assert np.isnan(entry.category_values).any()
        for b, values in enumerate(result.resample(weights)["AP"]):
            known = values[~np.isnan(values)]
            assert (
                entry.values["AP"][b] == pytest.approx(known.mean()) if len(known) else np.isnan(entry.values["AP"][b])
            )

    def test_lvis_groups(self):
        dataset, results = federated_case(2, images=12, categories=8, truths=80, results=400)
        result = prepare(lvis_truth(dataset), Lvis()).evaluate_arrays(**arrays(results))
        entry = bootstrap(result, replicates=20)
        assert {"APr", "APc", "APf"} <= set(entry.values)
        for name in ("APr", "APc", "APf"):
            official = getattr(result, name)
            assert entry.observed[name] == pytest.approx(official, abs=1e-13) or official == -1

    def test_equal_seeds_give_equal_replicates(self):
        one, two, other = (bootstrap(measured(), replicates=30, seed=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one.values["AP"], two.values["AP"])
        assert one.draws == two.draws != other.draws
        assert not np.array_equal(one.values["AP"], other.values["AP"])

    def test_without_sizes(self):
        entry = bootstrap(measured(), replicates=5, drawn=("AP", "AP50", "AP75"))
        assert set(entry.values) == {"AP", "AP50", "AP75"}
        assert "APs" in entry.observed
        assert set(entry.intervals) == set(entry.values)

    def test_groups_are_drawn_whole(self):
        # a film of four equal frames per scene: by frames, the error looks half as large as it is
        truth, found = scenes(np.random.default_rng(0), 60, skills=(1.0,))
        frames = [np.repeat(column, 4, axis=0) for column in truth]
        frames[0] = np.repeat(truth[0] * 4, 4) + np.tile(np.arange(4), len(truth[0]))
        rows = [np.repeat(column, 4, axis=0) for column in found[0]]
        rows[0] = np.repeat(found[0][0] * 4, 4) + np.tile(np.arange(4), len(found[0][0]))
        (scene,) = evaluated(truth, found, 60)
        (film,) = evaluated(frames, [rows], 240)
        groups = np.array([f"video {i}" for i in np.arange(240) // 4], dtype=object)
        errors = [
            bootstrap(result, replicates=600, groups=group).intervals["AP"].error
            for result, group in ((scene, None), (film, groups), (film, None))
        ]
        assert errors[1] == pytest.approx(errors[0], rel=0.1)
        assert errors[2] == pytest.approx(errors[0] / 2, rel=0.15)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"replicates": 1}, "replicates"),
            ({"seed": -1}, "seed"),
            ({"groups": np.zeros(12)}, "two groups"),
            ({"groups": np.arange(3)}, "12 images"),
        ],
    )
    def test_what_cannot_be_drawn(self, options, words):
        with pytest.raises(InputError, match=words):
            bootstrap(measured(), **options)

    def test_one_image_has_no_spread(self):
        with pytest.raises(InputError, match="at least two images"):
            bootstrap(measured(images=1))

    def test_progress(self):
        calls = []
        bootstrap(measured(), replicates=300, progress=lambda done, total: calls.append((done, total)))
        assert calls == [(128, 300), (256, 300), (300, 300)]

    def test_a_category_in_few_images_has_no_interval(self):
        truth, found = scenes(np.random.default_rng(1), 40, skills=(1.0,), categories=2)
        truth[1][:] = 0
        truth[1][truth[0] < 2] = 1  # in two images: absent from one replicate in eight
        found[0][1][:] = found[0][0] < 2
        (result,) = evaluated(truth, found, 40, categories=2)
        common, rare = bootstrap(result, replicates=400).category_intervals
        assert 0 < common.low < common.value < common.high < 1
        assert rare.value > 0
        assert np.isnan([rare.low, rare.high, rare.error]).all()


def planted(shift, categories=8, images=100, noise=0.02, seed=0):
    """Two entries, b better than a by `shift` [categories]; the replicates vary by `noise`, as does the difference."""
    rng = np.random.default_rng(seed)
    shift = np.broadcast_to(np.asarray(shift, float), categories)
    base = np.full(categories, 0.5)
    values = base + rng.normal(0, noise, (1000, categories))
    a = Replicates(
        images=images,
        units=images,
        draws="x",
        category_ids=np.arange(1, categories + 1, dtype=np.int32),
        category_names=tuple(f"c{k}" for k in range(categories)),
        observed={"AP": float(base.mean())},
        values={"AP": values.mean(axis=1)},
        category_observed=base,
        category_values=values,
    )
    other = values + shift + rng.normal(0, noise, values.shape)
    b = replace(
        a,
        observed={"AP": float((base + shift).mean())},
        values={"AP": other.mean(axis=1)},
        category_observed=base + shift,
        category_values=other,
    )
    return a, b


class TestComparison:
    def test_equal_entries(self):
        entry = bootstrap(measured(), replicates=30)
        comparison = compare(entry, entry, name_a="one", name_b="two")
        assert comparison.sentence == "two and one have the same AP on 12 images, image by image."
        assert comparison.figures["AP"].p == 1
        assert comparison.figures["AP"].share == 0.5
        assert comparison.images_needed is None
        assert not comparison.told
        assert np.isnan(comparison.wilcoxon)

    def test_the_same_rows_in_another_order_are_equal(self):
        a, _ = planted(0)
        b = replace(a, observed={"AP": a.observed["AP"] + 1e-16}, values={"AP": a.values["AP"] - 1e-16})
        assert compare(a, b).figures["AP"].p == 1

    def test_better_and_where(self):
        comparison = compare(*planted([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, -0.1, 0]), name_a="old", name_b="new")
        assert comparison.told
        assert [c.name for c in comparison.worse] == ["c6"]
        assert {c.name for c in comparison.better} == {f"c{k}" for k in range(6)}
        assert not comparison.per_category[7].told
        text = comparison.sentence
        assert text.startswith("new is better than old by 6.25 AP (95 % interval ")
        assert "on 100 images; it is better in 6 (c0 +10.00, c1 +10.00, c2 +10.00, ...)" in text
        assert "worse in 1 (c6 -10.00) of 8 categories." in text
        ap = comparison.figures["AP"]
        assert ap.low < 0.0625 < ap.high
        assert ap.error == pytest.approx(0.02 / 8**0.5, rel=0.1)
        assert ap.p < 1e-6
        assert ap.share == 1

    def test_sizes_are_listed(self):
        def with_sizes(figures):
            return figures | dict.fromkeys(("APs", "APm", "APl"), figures["AP"])

        a, b = (replace(e, observed=with_sizes(e.observed), values=with_sizes(e.values)) for e in planted([0.1] * 8))
        sentence = compare(a, b).sentence
        assert "it is better in 8 (c0 +10.00, c1 +10.00, c2 +10.00, ...) and worse in none of 8 categories" in sentence
        assert sentence.endswith("; better on small, medium and large objects.")
        a, b = (replace(e, values={n: e.values[n] for n in ("AP", "APs", "APl")}) for e in (a, b))
        assert compare(a, b).sentence.endswith("; better on small and large objects.")

    def test_turned_round(self):
        a, b = planted([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, -0.1, 0])
        there, back = compare(a, b), compare(b, a)
        assert back.sentence.startswith("b is worse than a by 6.25 AP (95 % interval ")
        for one, two in zip(
            there.figures["AP"][2:5], (-back.figures["AP"].value, -back.figures["AP"].high), strict=False
        ):
            assert one == pytest.approx(two)
        assert there.figures["AP"].p == pytest.approx(back.figures["AP"].p)
        assert there.wilcoxon == back.wilcoxon

    def test_not_told_apart_says_how_many_images_would_do(self):
        comparison = compare(*planted(0.004))
        ap = comparison.figures["AP"]
        assert ap.low < 0 < ap.high
        assert not comparison.told
        assert "cannot be told apart on 100 images: the difference is +0.40 AP" in comparison.sentence
        # four times in five: the difference has to be 2.8 standard errors (Student's 1.984 + 0.8416)
        wanted = 100 * (2.826 * ap.error / ap.value) ** 2
        assert comparison.images_needed == pytest.approx(wanted, rel=0.06)
        assert f"about {comparison.images_needed:,} images would show it four times in five" in comparison.sentence
        assert "no single one of 8 categories" in comparison.sentence

    def test_interval_and_p_value_agree(self):
        for shift in np.linspace(0, 0.04, 40):
            ap = compare(*planted(shift)).figures["AP"]
            assert (ap.p < 0.05) == (ap.low > 0)

    def test_false_discoveries_are_controlled(self):
        from scipy.stats import false_discovery_control

        rng = np.random.default_rng(3)
        for seed in range(20):
            a, b = planted(rng.choice([0, 0, 0.05, 0.08], 30), categories=30, seed=seed)
            b.category_values[:50, 3] = np.nan  # absent too often: no test
            comparison = compare(a, b)
            p = np.array([c.difference.p for c in comparison.per_category])
            assert np.isnan(p[3])
            told = np.array([c.told for c in comparison.per_category])
            known = ~np.isnan(p)
            np.testing.assert_array_equal(told[known], false_discovery_control(p[known]) < 0.05)
            assert not told[3]

    def test_wilcoxon(self):
        # seven of eight categories better: exact, 2 * 2 / 2 ** 8 with the worse one of least rank
        shift = np.array([0.1, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17, -0.01])
        assert compare(*planted(shift)).wilcoxon == pytest.approx(4 / 256)
        assert np.isnan(compare(*planted(shift[:5], categories=5)).wilcoxon)

    def test_as_json_and_as_tables(self):
        a, b = planted([0.2, 0, 0, 0, 0, 0, 0, -0.02])
        b.category_observed[2] = np.nan
        comparison = compare(a, b)
        plain = comparison.to_dict()
        assert plain["per_category"][2]["value"] is None
        assert plain["figures"]["AP"]["p"] == comparison.figures["AP"].p
        assert plain["told_apart"] is True
        assert len(comparison.to_table().rows) == 1
        assert len(comparison.to_table(per_category=True).rows) == 8

    def test_sizes_are_named(self):
        a, b = planted(0.05)
        a.observed["APs"], a.values["APs"] = 0.3, a.values["AP"]
        b.observed["APs"], b.values["APs"] = 0.2, b.values["AP"] - 0.15
        a.observed["APl"], a.values["APl"] = 0.3, a.values["AP"]
        b.observed["APl"], b.values["APl"] = 0.35, b.values["AP"]
        assert "better on large objects, worse on small objects" in compare(a, b).sentence

    def test_what_cannot_be_compared(self):
        result = measured()
        a = bootstrap(result, replicates=20)
        with pytest.raises(InputError, match="drawn alike"):
            compare(a, bootstrap(result, replicates=20, seed=1))
        with pytest.raises(InputError, match="drawn alike"):
            compare(a, bootstrap(result, replicates=30))
        with pytest.raises(InputError, match="categories"):
            compare(a, replace(a, category_ids=a.category_ids + 1))


def scenes(rng, images, *, skills, categories=1):
    """Ground truth and the detections of some detectors, correlated by object and by image.

    Returns (image, category, x, size) of the objects and a list of (image, category, score, x, size) per detector. An
    object is a square in a place of its own, so that only its own detections overlap it.
    """
    count = rng.poisson(3.0, images)
    image = np.repeat(np.arange(images), count)
    category = rng.integers(categories, size=len(image))
    place = np.arange(len(image)) * 1e4
    size = np.exp(rng.normal(4, 0.8, len(image)))
    difficulty, ease = rng.normal(0, 1, images), rng.normal(0, 1, len(image))
    detectors = []
    for skill in skills:
        score = 0.7 * ease + 0.7 * rng.normal(0, 1, len(image)) - 0.5 * difficulty[image]
        found = rng.random(len(image)) < 0.87
        shift = np.abs(rng.normal(0, 0.1 * skill, len(image))) * np.exp(0.3 * difficulty[image])
        false = np.repeat(np.arange(images), rng.poisson(2.0, images))
        columns = (
            np.concatenate((image[found], false)),
            np.concatenate((category[found], rng.integers(categories, size=len(false)))),
            np.concatenate((score[found], rng.normal(-1.5, 1, len(false)) + 0.3 * difficulty[false])),
            np.concatenate(((place + shift * size)[found], np.full(len(false), -1e6))),
            np.concatenate((size[found], np.full(len(false), 50.0))),
        )
        order = np.argsort(columns[0], kind="stable")
        detectors.append([column[order] for column in columns])
    return [image, category, place, size], detectors


def some_scenes(truth, detectors, chosen):
    """The scenes of the chosen images, ascending; one that is chosen twice is there twice."""

    def taken(columns):
        start, end = np.searchsorted(columns[0], chosen), np.searchsorted(columns[0], chosen + 1)
        count = end - start
        rows = np.repeat(start - np.concatenate(([0], np.cumsum(count)[:-1])), count) + np.arange(count.sum())
        return [np.repeat(np.arange(len(chosen)), count), *(column[rows] for column in columns[1:])]

    return taken(truth), [taken(columns) for columns in detectors]


def evaluated(truth, detectors, images, categories=1, protocol="coco"):
    """Evaluate each detector. By LVIS every label of every image is known; Open Images knows one threshold alone."""
    image, category, place, size = truth
    zero = np.zeros(len(image))
    columns = GroundTruth.from_arrays(
        image_id=np.arange(images),
        category_id=np.arange(categories),
        annotation_image_id=image,
        annotation_category_id=category,
        xywh=np.stack([place, zero, size, size], axis=1),
        frequency="f" * categories,
        unit="normalized" if protocol == "openimages" else "pixel",
    )
    every = Labels(np.arange(images + 1) * categories, np.tile(np.arange(categories, dtype=np.int32), images))
    none = Labels(np.zeros(images + 1, np.int64), np.zeros(0, np.int32))
    columns = replace(columns, negative=every, not_exhaustive=none)
    if protocol == "openimages":
        ready = prepare_open_images(columns)
    else:
        ready = prepare(columns, Lvis() if protocol == "lvis" else Coco())
    return [
        ready.evaluate(
            DetectionTable.from_arrays(
                image_id=found[0],
                category_id=found[1].astype(np.int32),
                score=found[2],
                xywh=np.stack([found[3], np.zeros(len(found[3])), found[4], found[4]], axis=1),
                metadata=Metadata(unit=columns.unit),
            )
        )
        for found in detectors
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "images", "categories"),
    [("coco", 200, 1), ("coco", 300, 3), ("lvis", 300, 3), ("openimages", 300, 3)],
)
def test_intervals_cover_the_population(protocol, images, categories):
    """Data sets from a known population: nominal 95 % intervals hold its AP and difference in 93 to 97 %."""
    sets, population = 1000, 60_000
    rng = np.random.default_rng(12)
    truth, detectors = scenes(rng, population, skills=(1.2, 1.0), categories=categories)
    whole = evaluated(truth, detectors, population, categories, protocol)
    wanted = [whole[0].AP, whole[1].AP, whole[1].AP - whole[0].AP]
    held = np.zeros((sets, 3), bool)
    for number in range(sets):
        chosen = np.sort(rng.integers(population, size=images))
        sample = evaluated(*some_scenes(truth, detectors, chosen), images, categories, protocol)
        a, b = (bootstrap(result, replicates=128, seed=number, drawn=("AP",)) for result in sample)
        intervals = [a.intervals["AP"], b.intervals["AP"], compare(a, b).figures["AP"]]
        held[number] = [i.low <= value <= i.high for i, value in zip(intervals, wanted, strict=True)]
    coverage = held.mean(axis=0)
    print(f"{protocol}, {images} images, coverage of AP of a, of b, of the difference: {coverage}")
    assert ((coverage >= 0.93) & (coverage <= 0.97)).all(), coverage


def test_pairing_matters():
    """The detectors share images and objects: their difference is surer than the entries by themselves."""
    truth, detectors = scenes(np.random.default_rng(5), 300, skills=(1.2, 1.0))
    a, b = (bootstrap(result, replicates=400) for result in evaluated(truth, detectors, 300))
    paired = compare(a, b).figures["AP"].error
    apart = np.hypot(a.intervals["AP"].error, b.intervals["AP"].error)
    assert paired < 0.85 * apart


def test_error_matches_the_spread_of_fresh_data_sets():
    rng = np.random.default_rng(8)
    observed, errors = [], []
    for _ in range(120):
        truth, detectors = scenes(rng, 150, skills=(1.0,))
        (result,) = evaluated(truth, detectors, 150)
        observed.append(result.AP)
        errors.append(bootstrap(result, replicates=100, drawn=("AP",)).intervals["AP"].error)
    assert np.mean(errors) == pytest.approx(np.std(observed, ddof=1), rel=0.15)
