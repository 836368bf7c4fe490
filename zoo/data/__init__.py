"""Data of the zoo: data sets, records, transforms, orders and views; needs the extra `zoo`."""

from zoo.data.dataset import AnnotatedImages, Data
from zoo.data.joined import JoinedData
from zoo.data.order import epoch_order
from zoo.data.record import Key, Sample, Target, collate
from zoo.data.samples import Batch, Broken, Guarded, TrainSet, ViewSet, gathered
from zoo.data.spec import open_data
from zoo.data.views import View, views

__all__ = [
    "AnnotatedImages",
    "Batch",
    "Broken",
    "Data",
    "Guarded",
    "JoinedData",
    "Key",
    "Sample",
    "Target",
    "TrainSet",
    "View",
    "ViewSet",
    "collate",
    "epoch_order",
    "gathered",
    "open_data",
    "views",
]
