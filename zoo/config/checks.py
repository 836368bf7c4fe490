"""Checks of settings of training and test, whatever the model."""

from fusion.errors import InputError
from zoo.config.augment import Elaborate
from zoo.config.working import Infer, Train, TrainData

__all__ = ["check_working"]


def check_working(data: TrainData, train: Train, infer: Infer) -> None:
    """Check that settings of training and test fit together.

    Raises:
        InputError: With the field and what to change.
    """
    if data.short_range and len(data.short) != 2:
        raise InputError("data.short", f"a range has two ends, got {data.short}")
    if infer.short == () or not data.short:
        raise InputError(
            "infer.short" if data.short else "data.short", "expected at least one length of the short side"
        )
    for stream in data.step(train.batch):
        if stream.per_category is not None and (stream.per_category < 1 or stream.sampler != "class_aware"):
            raise InputError(
                "data.per_category",
                f"expected at least 1, with the sampler class_aware, got {stream.per_category} with {stream.sampler}",
            )
        if stream.subsets and stream.sampler == "full_class":
            problem = "further images among those of the sampler full_class leave no step with every category"
            raise InputError("data.subsets", problem, "Give them a stream of their own")
    images = sum(stream.images for stream in data.step(train.batch))
    if images != train.batch:
        raise InputError("data.streams", f"its streams have {images} images, a step has train.batch={train.batch}")
    _validate_chances(data)
    _validate_schedule(train)


def _validate_chances(data: TrainData) -> None:
    chances = {"flip": data.flip, "mosaic": data.mosaic}
    if data.rotation is not None:
        chances["rotation.chance"] = data.rotation.chance
    if data.instaboost is not None:
        chances |= {"instaboost.chance": data.instaboost.chance, "instaboost.colour": data.instaboost.colour}
    if data.strong is not None:
        chances |= {f"strong.{name}": getattr(data.strong, name) for name in ("colour", "blur", "cutout")}
    for name, chance in chances.items():
        if not 0 <= chance <= 1:
            raise InputError(f"data.{name}", f"expected a chance from 0 to 1, got {chance}")
    if data.elaborate is not None and data.crop is None:
        _validate_elaborate(data, data.elaborate)
    ranges = {"instaboost.scale": data.instaboost.scale} if data.instaboost is not None else {}
    if data.strong is not None:
        ranges |= {"strong.sigma": data.strong.sigma, "strong.area": data.strong.area}
    for name, (low, high) in ranges.items():
        if not 0 < low <= high:
            raise InputError(f"data.{name}", f"expected a range above 0, got {low} to {high}")


def _validate_elaborate(data: TrainData, own: Elaborate) -> None:
    drawing = ("class_aware", "full_class")
    if not any(stream.sampler in drawing for stream in data.step(1)):
        problem = f"turns and crops for the category that an image was drawn for, and {data.sampler} draws none"
        raise InputError("data.elaborate", problem, f"Set data.sampler to {' or '.join(drawing)}")
    if not (own.degrees >= 0 and 0 <= own.least <= own.most and 0 < own.memory_scale <= 1):
        raise InputError(
            "data.elaborate",
            f"expected degrees of at least 0, least up to most, and memory_scale above 0 and up to 1, got {own}",
        )


def _validate_schedule(train: Train) -> None:
    given = [name for name in ("segments", "milestones", "poly", "cosine") if getattr(train, name) not in ((), None)]
    if len(given) > 1:
        raise InputError(
            f"train.{given[-1]}",
            f"at most one of segments, milestones, poly and cosine says when the rate falls, got {' and '.join(given)}",
            "Empty the others: segments=() or milestones=()",
        )
    lengths = [name for name in ("segments", "steps", "epochs") if getattr(train, name) not in ((), None)]
    if len(lengths) != 1:
        raise InputError(
            "train",
            f"one of segments, steps and epochs says when training ends, got {' and '.join(lengths) or 'none'}",
        )
    rates = {f"groups.{number}.rate": group.rate for number, group in enumerate(train.groups)}
    for name, rate in {**rates, "offset_rate": train.offset_rate, "pool_offset_rate": train.pool_offset_rate}.items():
        if not rate > 0:
            raise InputError(f"train.{name}", f"expected a factor above 0, got {rate}", "train.freeze trains nothing")
    if train.cosine is not None and not 0 <= train.cosine <= 1:
        raise InputError("train.cosine", f"expected a share of the rate from 0 to 1, got {train.cosine}")
    if train.ema is not None and not 0 <= train.ema < 1:
        raise InputError("train.ema", f"expected a decay from 0 to less than 1, got {train.ema}")
    if not all(0 <= beta < 1 for beta in train.betas):
        raise InputError("train.betas", f"expected two weights from 0 to less than 1, got {train.betas}")
    if list(train.milestones) != sorted(set(train.milestones)):
        raise InputError("train.milestones", f"expected rising values, got {train.milestones}")
    if train.batch % train.accumulate:
        raise InputError("train.accumulate", f"{train.batch} images cannot be split into {train.accumulate} passes")
