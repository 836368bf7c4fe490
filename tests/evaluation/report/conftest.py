"""A page of simulated members, with names that HTML could stumble over."""

import json

import pytest

import quorum
from zoo.synthetic.simulated import Scenario, Skill, simulate

ODD = ['<script>document.title = "broken"</script>', 'a "quoted" & <b>bold</b> name', "Überraschung 猫", "it's"]
LONG = "c <i>&'\"é of_a_rather_long_name_as_folders_have_them"


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Ground truth with odd names, and tables of three members."""
    folder = tmp_path_factory.mktemp("data")
    skills = [Skill(name="a"), Skill(name="b", separation=1.5, low=0.0, high=50.0), Skill(name="c", recall=0.6)]
    truth, *results = simulate(Scenario(images=40, categories=16), skills, 1).write(folder)
    dataset = json.loads(truth.read_text())
    for category, name in zip(dataset["categories"], ODD, strict=False):
        category["name"] = name
    truth.write_text(json.dumps(dataset))
    for path, name in zip(results, ("a", "b", LONG), strict=True):
        quorum.main(["import", str(path), "-g", str(truth), "-o", str(folder / "tables" / f"{name}.parquet")])
    return folder


@pytest.fixture(scope="session")
def tables(folder):
    return sorted((folder / "tables").glob("*.parquet"))


@pytest.fixture(scope="session")
def page(folder, tables):
    """The page that `quorum report` writes of them."""
    path = folder / "report.html"
    words = ["report", *tables, "-g", folder / "ground_truth.json", "-o", path, "--replicates", 50]
    quorum.main([str(word) for word in words])
    return path
