"""Pictures, and what a table has of one of them, for the tests of other frameworks' models."""

import numpy as np

from fusion.storage import read_table
from zoo.data import open_data
from zoo.members import foreign
from zoo.members.base import Wanted
from zoo.members.joined import Joining
from zoo.predict import predict

SCENES = "scenes:3,64,5,categories=3"


def pictures():
    """The data set, and the pictures as uint8 [h, w, 3]."""
    data = open_data(SCENES)
    return data, [data.load(index)[0].permute(1, 2, 0).numpy() for index in range(len(data))]


def table(name, output, *, views=None, data=None, label_map=None, drop=False, weights=None, parts=None, **settings):
    """Run a model over the pictures; return its table."""
    data = data or open_data(SCENES)
    wanted, joining = Wanted(weights=weights, settings=settings), Joining(label_map=label_map, drop=drop)
    predict(foreign(str(name), wanted, joining, data, "theirs"), data, output, views=views, parts=parts)
    return read_table(output)


def rows(found, data, index, view="own"):
    """Boxes xyxy, scores, category ids and masks of a picture in a view, best first."""
    names = np.array(found.arrow["view"].to_pylist())
    kept = np.flatnonzero((found.image_id == data.image_ids[index]) & (names == view))
    kept = kept[np.argsort(-found.score[kept], kind="stable")]
    xywh = found.xywh[kept]
    masks = None
    if found.mask is not None:
        masks = [found.mask[int(row)].as_py() for row in kept]
        masks = [{"size": [one["height"], one["width"]], "counts": one["counts"]} for one in masks]
    boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    return boxes, found.score[kept], found.category_id[kept], masks
