"""The lists of trainings that reports fuse."""

from collections import Counter

import pytest

from fusion.errors import InputError
from zoo.config import Model
from zoo.ensembles import find_ensemble
from zoo.registry import find


def test_mmfruit_28_is_what_the_report_says():
    trainings = find_ensemble("mmfruit-28")
    made = {one.number: one.make() for one in trainings}
    assert all(isinstance(model, Model) for model in made.values())
    numbered = trainings[:28]
    assert [one.number for one in numbered] == [str(number) for number in range(1, 29)]
    assert len({one.group for one in numbered}) == 11  # "reduces the detections from 28 to 11"
    eighty = [one.number for one in numbered if one.data.startswith("80 %")]
    assert eighty == [str(number) for number in range(17, 29)]  # "We only train the models ID 17-28"
    data = {group: {one.data for one in numbered if one.group == group} for group in {one.group for one in numbered}}
    assert all(len(used) == 1 for used in data.values())
    decoupled = [one.number for one in numbered if made[one.number].decoupled]
    assert decoupled == ["25", "26", "27", "28"]  # sec. 5.2
    experts = Counter(one.number.split()[0] for one in trainings[28:])
    assert experts == {"expert": 3, "COCO": 2, "Objects365": 8}  # sec. 7.3
    assert {one.variant for one in trainings[28:31]} == {"mm_expert150", "mm_expert27", "mm_expert40"}
    assert all(not one.group for one in trainings[28:])
    # Table 4: from 58.596 to 60.5 alone
    reported = [find(one.variant).reported["public LB"] for one in numbered[:2]]
    assert reported == [58.596, 60.5]
    assert all(made[one.number].data.sampler in ("class_aware", "full_class") for one in numbered)  # sec. 5.1
    assert len({(str(made[one.number].to_dict()), one.data) for one in trainings}) == len(trainings)
    families = {made[one.number].backbone.name.split("_")[0].split(".")[0] for one in numbered}
    assert {"resnext101", "senet154", "nasnetalarge", "tf"} <= families  # sec. 7.3
    assert any(made[one.number].neck.nas for one in numbered)


def test_the_list_is_printed(run):
    code, printed, _ = run("zoo", "list", "--ensemble", "mmfruit-28")
    assert code == 0
    rows = [line for line in printed.splitlines() if "mm_" in line]
    assert len(rows) == 41
    assert "mm_decoupled" in rows[24]
    assert "decoupled" in rows[24].split("mm_decoupled")[1]


def test_an_unknown_ensemble_is_named():
    with pytest.raises(InputError, match="mmfruit-28"):
        find_ensemble("mmfruit-27")
