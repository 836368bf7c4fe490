"""Several processes: the outcomes of one, and what a killed one costs."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from evaluation import prepare
from evaluation.protocol import Coco
from fusion.errors import InputError
from search.engine import Engine, category_chunks
from search.evaluators import Processes, Serial
from search.on_cpu import cpu_fusers
from search.problem import CategoryAp
from search.pruning import Incumbent
from tests.search.members import Deadly, make_members, make_truth
from tests.search.test_genome import random_genome

TRUTH = make_truth(7, images=30, categories=6, objects=200)
TABLES = make_members(7, 4, TRUTH)
CHUNKS = category_chunks(TRUTH.category_id, np.ones(6, np.int64), 2)


def candidates(count):
    genomes = [random_genome(seed, 4).canonical() for seed in range(3 * count)]
    return [genome for genome in genomes if genome.pruned is not None][:count]


def fusers(measure=None):
    return cpu_fusers(TABLES, CHUNKS, measure or CategoryAp(prepare(TRUTH, Coco())))


def serial():
    return Serial(Engine(fusers(), memory=1 << 24))


def processes(folder, measure=None, workers=2):
    return Processes(fusers(measure), folder, workers=workers, memory=1 << 24)


def comparable(outcomes):
    return [(outcome.value, outcome.per_category.tobytes(), outcome.pruned) for outcome in outcomes]


def test_processes_give_the_outcomes_of_one_and_survive_a_kill(tmp_path):
    genomes = candidates(12)
    own = serial()
    incumbent = Incumbent(TRUTH.category_id, next(own.run(genomes[:1], None)).per_category)
    expected = comparable(own.run(genomes, incumbent))
    several = processes(tmp_path)
    try:
        assert comparable(several.run(genomes, incumbent)) == expected
        assert comparable(several.run([], incumbent)) == []

        def kill():
            time.sleep(0.02)
            os.kill(several.pids[0], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        assert comparable(several.run(genomes, incumbent)) == expected
        killer.join()
        assert comparable(several.run(genomes, incumbent)) == expected
    finally:
        several.close()


def test_a_candidate_that_kills_is_run_again_and_refused_in_the_end(tmp_path):
    genomes = candidates(4)
    engine = serial().engine
    # the third candidate is known by the number of its rows in the last chunk
    rows = [len(engine.fuse(genome, 1)) for genome in genomes]
    assert rows.count(rows[2]) == 1
    expected = comparable(serial().run(genomes, None))
    flag = tmp_path / "flag"
    several = processes(tmp_path, Deadly(CategoryAp(prepare(TRUTH, Coco())), flag, rows[2]))
    try:
        flag.write_text("once")
        assert comparable(several.run(genomes, None)) == expected
        assert not flag.exists()
        flag.write_text("always")
        with pytest.raises(InputError) as caught:
            list(several.run(genomes, None))
        assert "died 3 times" in str(caught.value)
        assert genomes[2].encode().decode() in str(caught.value)
    finally:
        several.close()
