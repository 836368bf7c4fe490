"""Class descriptions: their order numbers the categories."""

import pytest

from fusion.class_descriptions import read_class_descriptions
from fusion.errors import InputError


def read(tmp_path, text):
    (tmp_path / "classes.csv").write_text(text, encoding="utf-8")
    return read_class_descriptions(tmp_path / "classes.csv")


@pytest.mark.parametrize("header", ["", "LabelName,DisplayName\n", "\ufeff"])
def test_labels_and_names_in_order(tmp_path, header):
    found = read(tmp_path, header + '/m/2,Tortoise\n/m/1,"Magpie, a bird"\n/m/3,\n')
    assert list(found.items()) == [("/m/2", "Tortoise"), ("/m/1", "Magpie, a bird"), ("/m/3", "/m/3")]


def test_labels_alone(tmp_path):
    assert read(tmp_path, "/m/2\n\n/m/1\n") == {"/m/2": "/m/2", "/m/1": "/m/1"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/m/1,a\n/m/1,b\n", "'/m/1' twice"),
        ("/m/1,a\n,b\n", "an empty one"),
        ("LabelName,DisplayName\n", "none at all"),
        ('/m/1,"a\n', "lines of label,name"),
    ],
)
def test_what_cannot_be_used(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read(tmp_path, text)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_class_descriptions(tmp_path / "classes.csv")
