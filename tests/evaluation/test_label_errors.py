"""Likely label errors: each kind where it is put in, nothing where all is well, and the same as a slow version."""

import csv
import io
import json

import numpy as np
import pytest

import fusion
import quorum
from evaluation import Coco, GroundTruth, Lvis, label_errors, read_coco
from evaluation.label_errors import find_label_errors
from evaluation.suspects import KINDS_OF_ERRORS
from fusion.errors import InputError
from fusion.score_maps import ScoreMap
from fusion.storage import write_table
from tests.evaluation.analysis.samples import table_of
from tests.evaluation.cases import ground_truth, random_case
from tests.evaluation.pictures.test_pictures import table_of as table_of_rows
from tests.oracles import label_errors as slow

IMAGES = 12


def objects(seed=0):
    """Twelve images of six objects each, of three categories, far apart: image, category, x, y, w, h."""
    rng = np.random.default_rng(seed)
    return [
        (image, int(rng.integers(1, 4)), 30 + 100 * (place % 3), 30 + 120 * (place // 3), *rng.integers(40, 80, 2))
        for image in range(1, IMAGES + 1)
        for place in range(6)
    ]


def truth_of(rows, crowd=None):
    return GroundTruth.from_arrays(
        image_id=range(1, IMAGES + 1),
        width=[320] * IMAGES,
        height=[260] * IMAGES,
        file_name=[f"bild ä{number}.jpg" for number in range(1, IMAGES + 1)],
        category_id=[1, 2, 3],
        category_name=["cat", "dog", "bird"],
        annotation_image_id=[row[0] for row in rows],
        annotation_category_id=[row[1] for row in rows],
        annotation_id=np.arange(len(rows)) + 100,
        xywh=np.array([row[2:] for row in rows], float).reshape(-1, 4),
        crowd=crowd,
    )


def members(rows, count=3, drop=()):
    """Members that find all objects but those dropped, a pixel off."""
    found = []
    for number in range(count):
        rng = np.random.default_rng(number)
        own = [row for place, row in enumerate(rows) if place not in drop]
        detections = [
            (image, category, 0.5 + 0.5 * rng.random(), *(np.array(box) + rng.integers(-1, 2, 4)))
            for image, category, *box in own
        ]
        noise = [(image, 1, 0.3 * rng.random(), 200 * rng.random(), 200 * rng.random(), 12, 12) for image in (1, 5, 9)]
        found.append(table_of_rows([*detections, *noise], f"m{number}"))
    return found


def test_a_label_that_is_missing_is_found():
    rows = objects()
    found = find_label_errors(members(rows), truth_of(rows[:20] + rows[21:]))
    first = found.only("missing_label").to_frame().iloc[0]
    assert (first.image_id, first.category, first.members) == (rows[20][0], ["", "cat", "dog", "bird"][rows[20][1]], 3)
    assert first.score > 0.8
    assert first[["x", "y", "w", "h"]].tolist() == pytest.approx(list(rows[20][2:]), abs=1.5)
    assert first.annotation_id is None
    assert np.isnan(first.annotated_x)


def test_a_label_that_nobody_finds_is_found():
    rows = objects()
    found = find_label_errors(members(rows, drop={30}), truth_of(rows))
    first = found.only("spurious_label").to_frame().iloc[0]
    assert first.annotation_id == 130
    assert first.score > 0.7
    assert first[["x", "y", "w", "h"]].tolist() == list(map(float, rows[30][2:]))


def test_another_category_is_found():
    rows = objects()
    wrong = [*rows]
    wrong[7] = (rows[7][0], rows[7][1] % 3 + 1, *rows[7][2:])
    found = find_label_errors(members(rows), truth_of(wrong))
    first = found.only("wrong_category").to_frame().iloc[0]
    assert (first.annotation_id, first.category_id, first.members) == (107, rows[7][1], 3)
    assert first.annotated == ["", "cat", "dog", "bird"][wrong[7][1]]
    assert first.score > 0.8
    assert not len(found.only("missing_label", least=0.2))


@pytest.mark.parametrize("factor", [1.4, 1.7])
def test_a_loose_box_is_found_and_is_no_missing_label(factor):
    rows = objects()
    image, category, x, y, w, h = rows[11]
    wrong = [*rows]
    wrong[11] = (image, category, x, y, w * factor, h * factor)
    found = find_label_errors(members(rows), truth_of(wrong))
    first = found.only("loose_box").to_frame().iloc[0]
    assert first.annotation_id == 111
    assert first[["x", "y", "w", "h"]].tolist() == pytest.approx(list(rows[11][2:]), abs=1.5)
    assert first.score > 0.3
    for kind in ("missing_label", "spurious_label", "wrong_category"):
        assert not len(found.only(kind, least=0.2)), kind


def test_nothing_is_suspect_where_all_agree():
    rows = objects()
    found = find_label_errors(members(rows), truth_of(rows))
    assert not len(found.only(least=0.2))


def test_crowds_and_what_lies_in_them_are_no_suspects():
    rows = [*objects(), (1, 1, 0, 150, 320, 110)]
    crowd = [False] * (len(rows) - 1) + [True]
    inside = [(1, 1, 10 + 40 * n, 200, 20, 30) for n in range(5)]
    rows = [row for row in rows if row[0] != 1 or row[3] < 150 or row == (1, 1, 0, 150, 320, 110)]
    crowd = [False] * (len(rows) - 1) + [True]
    found = find_label_errors(members([*rows[:-1], *inside]), truth_of(rows, crowd))
    assert not len(found.only(least=0.2))


def test_what_lvis_does_not_judge_is_no_suspect(tmp_path):
    """Category 2 is not annotated exhaustively in image 1, and category 3 is not known to be there or not."""
    dataset = {
        "images": [
            {"id": i, "width": 320, "height": 260, "neg_category_ids": [1, 2], "not_exhaustive_category_ids": [2]}
            for i in range(1, 9)
        ],
        "categories": [{"id": i, "name": str(i), "frequency": "f"} for i in (1, 2, 3)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [9, 9, 50, 50], "area": 2500, "iscrowd": 0}
            for i in range(1, 9)
        ],
    }
    (tmp_path / "gt.json").write_text(json.dumps(dataset))
    truth = read_coco(tmp_path / "gt.json")
    more = [(1, kind, 0.95, 100 * kind - 50, 150, 60, 60) for kind in (1, 2, 3)]
    rows = [*[(i, 1, 0.9, 9, 9, 50, 50) for i in range(1, 9)], *more]
    found = find_label_errors([table_of_rows(rows, name) for name in "ab"], truth, Lvis())
    missing = found.only("missing_label").to_frame()
    assert missing.category_id.tolist() == [1]


@pytest.mark.parametrize("seed", range(12))
def test_scores_are_those_of_a_slow_version(seed, monkeypatch):
    dataset, first = random_case(seed, truths=30, results=60)
    rng = np.random.default_rng(seed)
    known = [category["id"] for category in dataset["categories"]]
    lists = []
    for _ in range(3):
        rows = [dict(row, score=float(rng.random()), area=1.0) for row in first if rng.random() < 0.7]
        for row in rows:
            row["bbox"] = (np.array(row["bbox"]) + rng.choice([0, 0, 0.5, -0.5, 1.5], 4)).clip(0.01).tolist()
            if rng.random() < 0.3:
                row["category_id"] = int(rng.choice(known))
        rows.sort(key=lambda row: row["image_id"])
        lists.append([row for row in rows if row["category_id"] in known])
    for truth in dataset["annotations"]:
        truth["ignored"] = bool(truth["iscrowd"]) or truth["area"] > 1e10
    identity = ScoreMap(kind="linear", score=(0.0, 1.0), value=(1e-15, 1 - 1e-15))
    monkeypatch.setattr(label_errors, "learn_calibration", lambda *_, **__: identity)
    found = find_label_errors([table_of(rows, str(m)) for m, rows in enumerate(lists)], ground_truth(dataset))
    listed = found.to_frame()
    by_annotation = {}
    free = [[], [], []]
    for image in sorted(image["id"] for image in dataset["images"]):
        truths = sorted(
            (truth for truth in dataset["annotations"] if truth["image_id"] == image),
            key=lambda truth: truth["category_id"],
        )
        answers = [slow.heard(truths, [row for row in rows if row["image_id"] == image]) for rows in lists]
        for rows, answer in zip(free, answers, strict=True):
            rows += answer[1]
        for g, truth in enumerate(truths):
            if not truth["ignored"]:
                by_annotation[truth["id"]] = truth, [answer[0][g] for answer in answers]
    worth = slow.trusts(list(by_annotation.values()))
    for kind, answer in (
        ("wrong_category", lambda truth, pairs: slow.wrong_category(truth, pairs)[0]),
        ("loose_box", lambda truth, pairs: slow.loose(truth, pairs, worth)),
    ):
        own = listed[listed.kind == kind]
        ours = dict(zip(own.annotation_id.tolist(), own.score.tolist(), strict=True))
        theirs = {key: answer(*entry) for key, entry in by_annotation.items()}
        theirs = {key: score for key, score in theirs.items() if score > 1e-12}
        assert {key for key, score in ours.items() if score > 1e-12} == set(theirs)
        assert [ours[key] for key in theirs] == pytest.approx(list(theirs.values()), abs=1e-9)
    own = listed[listed.kind == "spurious_label"]
    shares = {
        key: score / slow.nobody(by_annotation[key][1])
        for key, score in zip(own.annotation_id.tolist(), own.score.tolist(), strict=True)
    }
    assert all(0 <= share <= 1 + 1e-9 for share in shares.values())
    unseen = {key for key, (_, pairs) in by_annotation.items() if slow.nobody(pairs) > 1e-12}
    assert unseen == set(shares)
    assert (found.score.min(initial=1), found.score.max(initial=0)) >= (0, 0)
    assert found.score.max(initial=0) <= 1
    fused = fusion.wbf([fusion.nms([table_of(rows, str(m))], iou=0.5) for m, rows in enumerate(free)], iou=0.5)
    missing = slow.missing(dataset["annotations"], fused.to_pandas().to_dict("records"))
    assert found.only("missing_label").score.tolist() == pytest.approx(missing, abs=1e-6)
    said = listed[listed.kind == "wrong_category"]
    for key, category in zip(said.annotation_id.tolist(), said.category_id.tolist(), strict=True):
        assert slow.wrong_category(*by_annotation[key])[1] == category


def test_scores_of_any_scale_are_heard_alike():
    rows = objects()
    truth = truth_of(rows[:20] + rows[21:])
    tables = members(rows)
    scaled = [tables[0], tables[1].with_scores(tables[1].score * 300 - 7), tables[2].with_scores(tables[2].score ** 9)]
    plain, other = (find_label_errors(each, truth) for each in (tables, scaled))
    assert len(plain) == len(other)
    assert plain.score == pytest.approx(other.score, abs=1e-4)


def test_members_that_find_nothing_and_truth_without_annotations():
    rows = objects()
    nothing = table_of_rows([], "nothing")
    assert len(find_label_errors([nothing], truth_of(rows)).only("missing_label")) == 0
    found = find_label_errors([*members(rows), nothing], truth_of(rows[:20] + rows[21:]))
    assert found.only("missing_label").score[0] == pytest.approx(0.75, abs=0.05)
    empty = find_label_errors(members(rows), truth_of([]))
    assert set(empty.kind) <= {"missing_label"}
    assert len(empty.to_frame()) == len(empty)


def test_what_cannot_be_looked_at_is_an_error(tmp_path):
    rows = objects()
    with pytest.raises(InputError, match="none was given"):
        find_label_errors([], truth_of(rows))
    with pytest.raises(InputError, match="expected one for boxes, got one for masks"):
        find_label_errors(members(rows), truth_of(rows), Coco(iou_type="segm"))
    with pytest.raises(InputError, match=r"expected a name that ends in .csv or .json, got .txt"):
        find_label_errors(members(rows), truth_of(rows)).write(tmp_path / "list.txt")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = objects()
    truth = truth_of(rows[:20] + rows[21:])
    content = {
        "images": [{"id": i, "width": 320, "height": 260, "file_name": f"ä {i}.jpg"} for i in range(1, IMAGES + 1)],
        "categories": [{"id": 1, "name": "cat, big"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "bird"}],
        "annotations": [
            {"id": n, "image_id": i, "category_id": c, "bbox": b, "area": b[2] * b[3], "iscrowd": 0, "segmentation": []}
            for n, i, c, b in zip(
                truth.annotation_id.tolist(),
                truth.image_id[truth.image].tolist(),
                truth.category_id[truth.category].tolist(),
                truth.xywh.tolist(),
                strict=True,
            )
        ],
    }
    (tmp_path / "gt.json").write_text(json.dumps(content))
    for table in members(rows):
        write_table(table, tmp_path / f"{table.metadata.member}.parquet")
    return tmp_path


def labels(*words):
    quorum.main(["labels", "m0.parquet", "m1.parquet", "m2.parquet", "-g", "gt.json", *words])


def test_the_list_is_written_as_csv_and_as_ground_truth(folder, capsys):
    labels("-o", "list.csv", "--score", "0.2")
    rows = list(csv.DictReader(io.StringIO((folder / "list.csv").read_text(encoding="utf-8"))))
    assert [(row["kind"], row["annotation_id"], row["members"]) for row in rows] == [("missing_label", "", "3")]
    out = capsys.readouterr()
    assert all(kind in out.out for kind in KINDS_OF_ERRORS)
    assert "list.csv: 1 suspects" in out.err
    labels("-o", "list.json", "--score", "0.2")
    content = json.loads((folder / "list.json").read_text(encoding="utf-8"))
    assert [one["suspect"]["kind"] for one in content["annotations"]] == ["missing_label"]
    assert [image["file_name"] for image in content["images"]] == [f"ä {content['annotations'][0]['image_id']}.jpg"]
    assert read_coco(folder / "list.json").xywh.tolist() == [content["annotations"][0]["bbox"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-o list.txt", "list.txt: expected a name that ends in .csv or .json, got .txt"),
        ("-o list", "got no ending"),
        ("-o list.csv --score 2", "option --score: expected a number in [0, 1], got 2"),
    ],
)
def test_what_the_command_cannot_do_is_one_clear_error(folder, words, said, capsys):
    with pytest.raises(SystemExit) as end:
        labels(*words.split())
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_one_member_alone_is_noted(folder, capsys):
    quorum.main(["labels", "m0.parquet", "-g", "gt.json", "-o", "list.csv"])
    assert "one member has nobody to agree with" in capsys.readouterr().err


def test_hard_objects_are_less_suspect():
    """Members miss most birds, and every small object: one more of these that nobody finds says little."""
    rows = [(image, category, 10 + 60 * category, 20, 50, 50) for image in range(1, 13) for category in (1, 2, 3)]
    rows += [(image, 1, 250, 150, 12, 12) for image in range(1, 13)]
    drop = {place for place, row in enumerate(rows) if row[4] == 12 or (row[1] == 3 and row[0] > 2)}
    odd = [(1, 1, 10, 150, 50, 50), (2, 3, 10, 150, 50, 50), (3, 1, 10, 150, 12, 12)]
    listed = find_label_errors(members(rows, drop=drop), truth_of([*rows, *odd])).only("spurious_label").to_frame()
    score = dict(zip(listed.annotation_id, listed.score, strict=True))
    usual, bird, small = (score[100 + len(rows) + place] for place in range(3))
    assert listed.annotation_id[0] == 100 + len(rows)
    assert usual > 1.5 * bird
    assert usual > 1.5 * small
