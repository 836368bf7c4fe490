import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.cli.relations import learn_relations as command
from evaluation.cli.truth import OpenImagesFiles
from evaluation.ground_truth import GroundTruth, Labels
from evaluation.relation_pictures import relation_picture
from evaluation.relations import learn_relations, relations_frame, relations_table, strongest
from fusion.errors import InputError
from fusion.learned import TunedOn, read_learned, write_learned
from fusion.relations import Relations
from tests.oracles import relations as oracle

OPEN_IMAGES = Path(__file__).parents[3] / "shared" / "data" / "openimages" / "annotations.csv"
IDS = (3, 7, 8, 20)

boxes = st.tuples(
    st.sampled_from(IDS),
    st.integers(0, 6),
    st.integers(0, 6),
    st.sampled_from([0, 1, 2, 5, 8]),
    st.sampled_from([0, 1, 2, 5, 8]),
    st.sampled_from([False] * 5 + [True]),
)
images = st.fixed_dictionaries(
    {"boxes": st.lists(boxes, max_size=8), "labels": st.lists(st.sampled_from(IDS), max_size=2)}
)


def ground_truth(images, unit="pixel"):
    rows = [(number, *box) for number, image in enumerate(images) for box in image["boxes"]]
    scale = 1 if unit == "pixel" else 1 / 16
    truth = GroundTruth.from_arrays(
        image_id=np.arange(len(images)),
        category_id=IDS,
        category_name=[f"name, {i}" for i in IDS],
        annotation_image_id=[row[0] for row in rows],
        annotation_category_id=[row[1] for row in rows],
        xywh=np.array([row[2:6] for row in rows], float).reshape(-1, 4) * scale,
        crowd=[row[6] for row in rows],
        unit=unit,
    )
    labels = [sorted({IDS.index(i) for i in image["labels"]}) for image in images]
    if not any(labels):
        return truth
    start = np.concatenate(([0], np.cumsum([len(part) for part in labels]))).astype(np.int64)
    return dataclasses.replace(truth, positive=Labels(start, np.concatenate(labels).astype(np.int32)))


@settings(max_examples=150, deadline=None)
@given(st.lists(images, max_size=8), st.sampled_from([0.0, 0.5, 0.9, 1.0]), st.sampled_from(["pixel", "normalized"]))
def test_counts_equal_the_oracle(images, ioa, unit):
    relations = learn_relations(ground_truth(images, unit), ioa)
    seen, objects, both, beside = oracle.together(images)
    assert relations.category_images.tolist() == [seen.get(i, 0) for i in IDS]
    assert relations.category_objects.tolist() == [objects.get(i, 0) for i in IDS]
    pairs = relations.together
    assert len(pairs.first) == len(both) / 2
    for a, b, images_, first, second in zip(*(column.tolist() for column in pairs), strict=True):
        i, j = IDS[a], IDS[b]
        assert i < j
        assert (images_, first, second) == (both[i, j], beside.get((i, j), 0), beside.get((j, i), 0))
    counted = {
        (IDS[a], IDS[b]): [inside, around]
        for a, b, inside, around in zip(*(column.tolist() for column in relations.surrounding), strict=True)
    }
    assert counted == oracle.surrounding(images, ioa)


PERSON, GUITAR = 3, 7
CONCERT = [
    {"boxes": [(PERSON, 0, 0, 10, 20, False), (GUITAR, 2, 5, 4, 4, False)], "labels": []},
    {
        "boxes": [(PERSON, 0, 0, 10, 20, False), (PERSON, 20, 0, 10, 20, False), (GUITAR, 2, 5, 4, 4, False)],
        "labels": [],
    },
    {"boxes": [(PERSON, 0, 0, 10, 20, False)], "labels": [GUITAR]},
    {"boxes": [(PERSON, 0, 0, 10, 20, False)], "labels": []},
    {"boxes": [(GUITAR, 2, 5, 4, 4, False)], "labels": []},
]


def test_both_conditional_probabilities_by_hand():
    relations = learn_relations(ground_truth(CONCERT))
    # images with both 3, with a person 4, with a guitar 4
    person_given_guitar, guitar_given_person = relations.conditional()
    assert person_given_guitar.tolist() == [3 / 4]
    assert guitar_given_person.tolist() == [3 / 4]
    # four of five persons have a guitar beside them, two of three guitars a person
    printed = relations.printed()
    assert [printed[0].tolist(), printed[1].tolist()] == [[4 / 5], [2 / 3]]
    inside, around = relations.surround_rates()
    assert inside.tolist() == [2 / 3]
    assert around.tolist() == [2 / 5]
    by_chance = relations.chance_rates()
    assert by_chance[0].tolist() == [2 / 3, 0, 0, 0]
    assert by_chance[1].tolist() == [0, 2 / 5, 0, 0]


def test_file_and_back(tmp_path):
    relations = learn_relations(ground_truth(CONCERT))
    write_learned(tmp_path / "r.toml", "relations", relations, TunedOn(fingerprint="x", images=5))
    table, tuned_on = read_learned(tmp_path / "r.toml", "relations")
    assert tuned_on.images == 5
    again = Relations.from_dict(table)
    assert again == relations
    assert again.category_name == ("name, 3", "name, 7", "name, 8", "name, 20")
    text = (tmp_path / "r.toml").read_text()
    assert "\nfirst,second,images,first_objects,second_objects\n3,7,3,4,2\n" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ioa": "high"}, "expected ioa as float"),
        ({"ioa": 1.5}, "expected a number in"),
        ({"together": 5}, "expected together as str"),
        ({"names": ["a"]}, "a name for each"),
        ({"categories": "id,images,objects\n5,1,1\n3,1,1\n"}, "rising ids"),
        ({"together": "first,second,images\n3,7,1\n"}, "expected columns"),
        ({"together": "first,second,images,first_objects,second_objects\n3,7,x,1,1\n"}, "expected a CSV table"),
        ({"surrounding": "inner,outer,inside,around\n3,9,1,1\n"}, "there is no category 9"),
    ],
)
def test_broken_files(change, message):
    values = learn_relations(ground_truth(CONCERT)).to_dict() | change
    with pytest.raises(InputError, match=message):
        Relations.from_dict(values)


def test_no_objects_and_wrong_options():
    relations = learn_relations(ground_truth([]))
    assert relations.images == 0
    assert len(relations_frame(relations)) == 0
    assert Relations.from_dict(relations.to_dict()) == relations
    assert relations_table(relations, "conditional").rows == []
    with pytest.raises(InputError, match="ioa"):
        learn_relations(ground_truth([]), 2.0)


def test_frame():
    frame = relations_frame(learn_relations(ground_truth(CONCERT)))
    row = frame[(frame["category"] == "name, 7") & (frame["given"] == "name, 3")].iloc[0]
    assert row[["images", "conditional", "printed", "inside", "around"]].tolist() == [3, 3 / 4, 2 / 3, 2 / 3, 0]
    assert row["lift"] == pytest.approx(0.75 / 0.8)
    assert len(strongest(learn_relations(ground_truth(CONCERT)), "inside")) == 0, "three guitars are not enough"


# matplotlib imports pyparsing, old versions of which do this
@pytest.mark.filterwarnings("ignore:module 'sre_constants':DeprecationWarning")
def test_command(tmp_path, capsys):
    annotations = [
        {"id": n, "image_id": image, "category_id": c, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
        for n, (image, (c, x, y, w, h, _)) in enumerate(
            ((k, box) for k in range(1, 31) for box in CONCERT[1]["boxes"]), start=1
        )
    ]
    dataset = {
        "images": [{"id": k, "width": 99, "height": 99} for k in range(1, 31)],
        "categories": [{"id": 3, "name": "Person"}, {"id": 7, "name": "Guitar"}],
        "annotations": annotations,
    }
    (tmp_path / "gt.json").write_text(json.dumps(dataset))
    command(ground_truth=tmp_path / "gt.json", output=tmp_path / "r.toml", picture=tmp_path / "heat.png")
    out, err = capsys.readouterr()
    assert "Guitar" in out
    assert "1 pairs of categories" in err
    assert (tmp_path / "heat.png").read_bytes().startswith(b"\x89PNG")
    assert read_learned(tmp_path / "r.toml", "relations")[1].images == 30
    relation_picture(learn_relations(ground_truth([])))


def test_command_on_open_images(tmp_path, capsys):
    (tmp_path / "boxes.csv").write_text(
        "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\n"
        "a,/m/guitar,0.4,0.5,0.4,0.5,0\na,/m/person,0.2,0.8,0.2,0.8,0\nb,/m/person,0,1,0,1,1\n"
    )
    (tmp_path / "labels.csv").write_text("ImageID,LabelName,Confidence\nb,/m/guitar,1\nc,/m/guitar,0\n")
    files = {"ground_truth": tmp_path / "boxes.csv", "output": tmp_path / "r.toml"}
    command(**files, open_images=OpenImagesFiles(image_labels=tmp_path / "labels.csv"))
    relations = Relations.from_dict(read_learned(tmp_path / "r.toml", "relations")[0])
    assert relations.category_images.tolist() == [2, 2], "the verified label counts, the absent one does not"
    assert relations.together.images.tolist() == [2]
    assert [column.tolist() for column in relations.surrounding] == [[0], [1], [1], [1]]
    (tmp_path / "x.json").write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(InputError, match="go with a CSV file of Open Images boxes"):
        command(
            ground_truth=tmp_path / "x.json",
            output=tmp_path / "r.toml",
            open_images=OpenImagesFiles(image_labels=tmp_path / "labels.csv"),
        )


@pytest.mark.parametrize(("options", "words"), [({"picture": "heat.jpg"}, "png or .svg"), ({"top": 0}, "option top")])
def test_command_checks_its_options_before_it_reads(tmp_path, options, words):
    paths = {name: tmp_path / value if name == "picture" else value for name, value in options.items()}
    with pytest.raises(InputError, match=words):
        command(ground_truth=tmp_path / "none.json", output=tmp_path / "r.toml", **paths)


def test_no_heavy_imports():
    code = "import sys, evaluation.cli.relations; print({'sklearn', 'matplotlib', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ}, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.skipif(
    not OPEN_IMAGES.exists(), reason="the Open Images sample is not beside the checkout (../shared/data)"
)
def test_open_images_sample():
    rows = pd.read_csv(OPEN_IMAGES).dropna().drop_duplicates()
    names = sorted(rows["LabelName"].unique())
    sides = rows[["XMin", "YMin", "XMax", "YMax"]].to_numpy()
    truth = GroundTruth.from_arrays(
        image_id=rows["ImageID"].unique(),
        category_id=np.arange(len(names)),
        category_name=names,
        annotation_image_id=rows["ImageID"].to_numpy(),
        annotation_category_id=np.searchsorted(names, rows["LabelName"]),
        xywh=np.hstack((sides[:, :2], sides[:, 2:] - sides[:, :2])),
        unit="normalized",
    )
    relations = learn_relations(truth)
    frame = relations_frame(relations).set_index(["category", "given"])
    # the report's Figure 3
    assert frame.loc[("Bicycle wheel", "Bicycle"), "inside"] > 0.9
    assert frame.loc[("Bicycle", "Bicycle wheel"), "around"] > 0.9
    assert frame.loc[("Glasses", "Person"), "inside"] > 0.7
    # copies of a box for a parent category surround nothing
    assert frame.loc[("Man", "Person"), "conditional"] < 1
    assert frame.loc[("Person", "Man"), "conditional"] == 1
    assert frame.loc[("Man", "Person"), "inside"] < 0.5
