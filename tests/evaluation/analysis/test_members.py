"""Agreement, bounds and contributions of members against plain versions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import Coco, prepare
from evaluation.analysis.contributions import analyze_contributions, fused_variants, restricted
from evaluation.analysis.ensemble_analysis import analyze_ensemble
from evaluation.analysis.members import analyze_members
from fusion import wbf
from fusion.errors import InputError
from fusion.recipe import Node, Recipe
from fusion.score_maps import ScoreMap
from fusion.steps.calibrate import Calibrate
from fusion.steps.concat import Concat
from fusion.steps.wbf import Wbf
from tests.evaluation.analysis.samples import case, table_of
from tests.evaluation.cases import random_box
from tests.oracles.analysis import found_objects

NAMES = ("a", "b", "c")


def ensemble(seed, *, masks=False, **options):
    """Return (dataset, results per member, prepared, tables, IoU): three members, of unequal thoroughness."""
    dataset, _, prepared, _, overlap = case(seed, masks=masks, results=0, **options)
    rng = np.random.default_rng(seed)
    members = []
    for share in (0.8, 0.5, 0.2):
        rows = []
        for g in dataset["annotations"]:
            if rng.random() < share:
                box = (np.array(g["bbox"]) + rng.choice([0, 0, 1, -1], 4)).clip(0).tolist()
                row = {k: g[k] for k in ("image_id", "category_id")} | {
                    "bbox": box,
                    "score": round(float(rng.random()), 1),
                }
                if masks:
                    row |= {"segmentation": g["segmentation"], "bitmap": g["bitmap"]}
                rows.append(row)
        if not masks:
            for _ in range(10):
                near = dataset["annotations"][rng.integers(len(dataset["annotations"]))]
                rows.append(
                    {k: near[k] for k in ("image_id", "category_id")} | {"bbox": random_box(rng, 1.0), "score": 0.4}
                )
        for row in rows:
            row["area"] = row["bbox"][2] * row["bbox"][3]
        members.append(rows)
    tables = [table_of(rows, name) for rows, name in zip(members, NAMES, strict=True)]
    return dataset, members, prepared, tables, overlap


@given(seed=st.integers(0, 10**6), masks=st.booleans(), iou=st.sampled_from([0.5, 0.75]))
@settings(max_examples=15, deadline=None)
def test_who_finds_what(seed, masks, iou):
    dataset, results, prepared, tables, overlap = ensemble(seed, masks=masks)
    members = analyze_members(tables, prepared, iou=iou)
    sets = [found_objects(dataset, rows, overlap, iou) for rows in results]
    objects = sum(not g["iscrowd"] and g["area"] <= 1e10 for g in dataset["annotations"])
    assert members.found.shape == (3, objects)
    assert members.found.sum(axis=1).tolist() == [len(found) for found in sets]
    frame = members.to_frame().set_index("member")
    for m, name in enumerate(NAMES):
        others = set().union(*(sets[i] for i in range(3) if i != m))
        assert frame.loc[name, "only_this"] == len(sets[m] - others)
        assert frame.loc[name, "AP"] == prepared.evaluate(tables[m]).AP
    for row in members.to_pair_frame().itertuples():
        a, b = (sets[NAMES.index(name)] for name in (row.a, row.b))
        assert (row.both, row.only_a, row.only_b) == (len(a & b), len(a - b), len(b - a))
        assert row.neither == objects - len(a | b)
        if a | b:
            assert row.jaccard == len(a & b) / len(a | b)
        m, n = NAMES.index(row.a), NAMES.index(row.b)
        if 0 < len(a) < objects and 0 < len(b) < objects:
            want = np.corrcoef(~members.found[m], ~members.found[n])[0, 1]
            assert row.miss_correlation == pytest.approx(want)
        else:
            assert np.isnan(row.miss_correlation)
    finders = members.to_finder_frame()
    assert finders["objects"].tolist()[0] == objects - len(set().union(*sets))
    assert finders["objects"].sum() == objects


@given(seed=st.integers(0, 10**6), masks=st.booleans())
@settings(max_examples=15, deadline=None)
def test_oracle_is_the_bound_it_claims_to_be(seed, masks):
    dataset, results, prepared, tables, overlap = ensemble(seed, masks=masks)
    members = analyze_members(tables, prepared)
    values = []
    for k in prepared.category_ids.tolist():
        own = [g for g in dataset["annotations"] if g["category_id"] == k and not g["iscrowd"] and g["area"] <= 1e10]
        found = [d for rows in results for d in rows if d["category_id"] == k]
        best = [max((overlap(d, g) for d in found if d["image_id"] == g["image_id"]), default=0.0) for g in own]
        if own:
            for threshold in prepared.protocol.thresholds:
                recall = sum(value >= threshold for value in best) / len(own)
                values.append(sum(recall >= r for r in np.linspace(0, 1, 101)) / 101 if recall else 0.0)
    assert members.oracle_AP == pytest.approx(np.mean(values))
    picked = prepared.evaluate(table_of([row for rows in results for row in rows]))
    assert members.oracle_AP >= max(picked.AP, *(result.AP for result in members.results)) - 1e-12
    ap = np.stack([result.average_precision_per_category for result in members.results])
    known = ~np.isnan(ap[0])
    assert members.best_per_category_AP == pytest.approx(ap[:, known].max(axis=0).mean())
    assert members.best_per_category_AP >= max(result.AP for result in members.results) - 1e-12


def test_best_member_per_category():
    _, _, prepared, tables, _ = ensemble(3)
    members = analyze_members(tables, prepared)
    frame = members.to_category_frame()
    for row in frame.itertuples():
        own = {name: getattr(row, f"AP_{name}") for name in NAMES}
        assert row.AP == own[row.best] == max(own.values())
        assert row.lead == pytest.approx(row.AP - own[row.next])
        assert row.best != row.next
    assert frame["objects"].sum() == members.found.shape[1]
    assert frame["found_by_nobody"].sum() == (members.finders == 0).sum()
    assert len(members.image) == len(members.category) == members.found.shape[1]


def test_contributions_are_those_of_the_fusions():
    _, _, prepared, tables, _ = ensemble(5)
    results = [prepared.evaluate(table) for table in tables]
    seen = []
    got = analyze_contributions(
        tables, prepared, results, progress=lambda what, done, total: seen.append((done, total))
    )
    assert got.fused_AP == prepared.evaluate(wbf(tables, iou=0.55)).AP
    order = np.argsort([-result.AP for result in results])
    for m in range(3):
        others = [i for i in range(3) if i != m]
        assert got.without_AP[m] == prepared.evaluate(wbf([tables[i] for i in others], iou=0.55)).AP
        best = next(i for i in order if i != m)
        pair = [tables[i] for i in sorted((m, best))]
        assert got.beside_AP[m] == prepared.evaluate(wbf(pair, iou=0.55)).AP
        assert got.add_one[m] == got.beside_AP[m] - results[best].AP
        assert got.leave_one_out[m] == got.fused_AP - got.without_AP[m]
    assert seen == [(n, 7) for n in range(8)]
    frame = got.to_frame()
    assert frame["leave_one_out"].is_monotonic_decreasing
    assert set(frame["member"]) == set(NAMES)


def test_a_recipe_without_a_member():
    pair = Node(Wbf(iou=0.5), ("a", "b"))
    recipe = Recipe({"pair": pair, "only": Node(Concat(), ("c",)), "output": Node(Concat(), ("pair", "only"))})
    part = restricted(recipe, NAMES, ("a", "b"))
    assert part is not None
    assert list(part.nodes) == ["pair", "output"]
    assert part.nodes["output"].inputs == ("pair",)
    part = restricted(recipe, NAMES, ("b", "c"))
    assert part is not None
    assert part.nodes["pair"].inputs == ("b",)
    lonely = Recipe({"output": Node(Concat(), ("a",))})
    assert restricted(lonely, NAMES, ("b", "c")) is None
    _, _, prepared, tables, _ = ensemble(5)
    results = [prepared.evaluate(table) for table in tables]
    got = analyze_contributions(tables, prepared, results, lonely)
    assert np.isnan(got.without_AP[0])
    assert not np.isnan(got.without_AP[1:]).any()
    got = analyze_contributions(tables, prepared, results, recipe)
    assert got.fused_AP == prepared.evaluate(recipe.fuse(tables)).AP
    kinds = [(variant.kind, variant.member) for variant in fused_variants(tables, recipe, [r.AP for r in results])]
    assert kinds[:3] == [("all", ""), ("without", "a"), ("beside best", "a")]
    assert len(kinds) == 7


def test_sentences_name_who_helps_and_who_harms():
    _, results, prepared, tables, _ = ensemble(8, truths=60)
    text = "\n".join(analyze_ensemble(tables, prepared).sentences())
    assert "The best member is a with AP" in text
    assert "The most complementary member is a" in text
    wild = table_of([row | {"score": 500 + row["score"], "bbox": [30.0, 30.0, 9.0, 9.0]} for row in results[0]], "wild")
    analysis = analyze_ensemble([*tables, wild], prepared)
    text = "\n".join(analysis.sentences())
    assert "Drop wild first" in text
    assert "on different scales" in text
    assert analysis.contributions.leave_one_out[3] < 0
    names = [*NAMES, "wild"]
    maps = {name: ScoreMap(kind="rank", score=[0.0, 600.0], value=[0.1, 0.9]) for name in names}
    recipe = Recipe.chain([Calibrate(maps=maps), Wbf(iou=0.55)])
    assert "on different scales" not in "\n".join(analyze_ensemble([*tables, wild], prepared, recipe).sentences())


def test_members_need_names_of_their_own():
    _, _, prepared, tables, _ = ensemble(1)
    with pytest.raises(InputError, match="of another table"):
        analyze_members([tables[0], tables[0]], prepared)
    with pytest.raises(InputError, match="has no member name"):
        analyze_members([tables[0].with_metadata(member=None)], prepared)
    with pytest.raises(InputError, match="no table"):
        analyze_members([], prepared)
    with pytest.raises(InputError, match="option iou"):
        analyze_members(tables, prepared, iou=0.3)
    with pytest.raises(InputError, match="at least two"):
        analyze_contributions(tables[:1], prepared, [prepared.evaluate(tables[0])])


def test_empty_members_and_data_sets():
    _, _, prepared, tables, _ = ensemble(1)
    empty = table_of([], "empty")
    members = analyze_members([tables[0], empty], prepared)
    assert members.found[1].sum() == 0
    assert members.to_frame().set_index("member").loc["empty", "AP"] == 0
    assert analyze_ensemble([tables[0], empty], prepared).sentences()
    dataset = prepared.ground_truth.subset(prepared.ground_truth.image_id[:0])
    nothing = analyze_members([empty], prepare(dataset, Coco()))
    assert np.isnan(nothing.oracle_AP)
    assert nothing.found.shape == (1, 0)
