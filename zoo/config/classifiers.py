"""Settings of the classifiers: from class features to scores."""

from dataclasses import dataclass

__all__ = [
    "Classifier",
    "CosineSoftmax",
    "DoubleClassifier",
    "EqualizedSigmoid",
    "GroupSoftmax",
    "Seesaw",
    "SingleClassifier",
    "Softmax",
    "TauSoftmax",
]


@dataclass(frozen=True)
class Softmax:
    """A linear layer to the classes and background, and softmax.

    Attributes:
        verified: Background teaches that a category is absent only in images where annotations say so (as in
            `EqualizedSigmoid`; ours): in others the category is left out of the softmax of background regions. False
            takes all categories that are not annotated for absent.
    """

    verified: bool = False


@dataclass(frozen=True)
class CosineSoftmax:
    """Softmax over scaled cosines between features and class weights (megdetv2's "normalizing the score"; ours).

    Attributes:
        scale: Factor on the cosines.
    """

    scale: float = 20.0


@dataclass(frozen=True)
class TauSoftmax:
    """Softmax whose class weights are divided by a power of their norms at test (the other reading).

    Attributes:
        tau: The power.
    """

    tau: float = 1.0


@dataclass(frozen=True, kw_only=True)
class EqualizedSigmoid:
    """A sigmoid for each category, in which objects of others teach a rare one nothing (lvistraveler, sec. 2.1; EQL).

    Attributes:
        rare: Share of images below which a category is rare (the LVIS v1 share for 796 of 1203 categories).
        verified: A category is taken for absent only in images where annotations say so: those that list it as
            negative or verified, have an object of it or were drawn for its sake, unless not all are annotated. For
            data annotated in the manner of LVIS or Open Images (ours).
    """

    rare: float = 1e-3
    verified: bool = False


@dataclass(frozen=True, kw_only=True)
class GroupSoftmax:
    """A softmax for each group of categories that are about equally common (lvistraveler, sec. 2.2; balanced group).

    The category "others" of a group stands for all that is not in it; one more softmax tells objects from background.

    Attributes:
        bounds: Numbers of training objects from which the next group begins.
        others: Times the objects of a group, the regions that it sees as "others" (public: 8). Instead of drawing them
            all are taken, with the weight that makes them as many (ours): the mean of all draws.
    """

    bounds: tuple[int, ...] = (10, 100, 1000)
    others: float = 8.0


@dataclass(frozen=True, kw_only=True)
class Seesaw:
    """Seesaw loss over cosines, with objects told from background apart (public; for comparison).

    Attributes:
        mitigation: Power of the ratio of objects seen so far, by which a rarer category is punished less.
        compensation: Power of the ratio of scores, by which a wrong and strong one is punished more.
        scale: Factor on the cosines.
    """

    mitigation: float = 0.8
    compensation: float = 2.0
    scale: float = 20.0


SingleClassifier = Softmax | CosineSoftmax | TauSoftmax | EqualizedSigmoid | GroupSoftmax | Seesaw


@dataclass(frozen=True, kw_only=True)
class DoubleClassifier:
    """Two classifiers of the same features, each taught by a stream of its own; scores are means (alibaba, sec. 3).

    Attributes:
        first: Learns from the first of `data.streams`.
        second: Learns from the second.
    """

    first: SingleClassifier = Softmax()
    second: SingleClassifier = Softmax()


Classifier = SingleClassifier | DoubleClassifier
