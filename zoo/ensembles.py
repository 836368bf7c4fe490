"""Named lists of trainings that reports fuse: which variants, on which data, with which seed."""

from dataclasses import dataclass

from fusion.errors import InputError
from zoo.config import AnyModel, with_field
from zoo.registry import find

__all__ = ["ENSEMBLES", "EnsembleMember", "find_ensemble"]


@dataclass(frozen=True, kw_only=True)
class EnsembleMember:
    """One training of a list.

    Attributes:
        number: The report's number of the model, or what it calls an expert.
        variant: Name of the variant.
        settings: Fields in which it differs from it, and their values, as `--set` takes them.
        data: What it is trained on.
        seed: `train.seed`.
        group: Models of a group are fused naively first; "" for experts, which join afterwards.
        stated: What of this the report says, and where; all else is ours.
    """

    number: str
    variant: str
    settings: tuple[tuple[str, str], ...] = ()
    data: str
    seed: int = 0
    group: str = ""
    stated: str = ""

    def make(self) -> AnyModel:
        """Return its configuration at full scale."""
        config = find(self.variant).make()
        for field, value in (*self.settings, ("train.seed", self.seed)):
            config = with_field(config, field, value)
        return config


# mmfruit-openimages2019. Sec. 4.2: 28 models, fused naively to 11 and then by a searched tree; the last 12 are trained
# on 80 % of all data and tuned on 2 x 10 %. Table 4: numbers 1 to 16 have 58.596 to 60.5 on the public leaderboard
# alone, which of Table 2 only the last rows with the decoupling head have. Sec. 7.3 names the families of backbones.

_FIRST, _ALL = "challenge train", "80 % of V5 train, val and test and challenge val"
_LONG = (
    ("train.epochs", "26"),
    ("train.milestones", "[18,22]"),
    ("train.keep_epochs", "[19,20,21,22,23,24,25,26]"),
)
_NAS_FPN = (("neck.nas", "7"),)
_SENET = (("backbone.name", "senet154.gluon_in1k"),)
_X152 = (("backbone.name", "resnext101_32x8d"), ("backbone.depths", "[3,8,36,3]"), ("backbone.pretrained", "false"))
_R50 = (("backbone.name", "resnet50.tv_in1k"), ("backbone.deform", "null"))
_FAMILY, _EPOCHS = "family of the backbone (sec. 7.3)", "26 epochs of some models (sec. 6)"
_SPLIT = "80 % of the data (sec. 4.2)"


def _first(
    number: int,
    variant: str,
    group: str,
    stated: str = _FAMILY,
    seed: int = 0,
    settings: tuple[tuple[str, str], ...] = (),
) -> EnsembleMember:
    return EnsembleMember(
        number=str(number), variant=variant, settings=settings, data=_FIRST, seed=seed, group=group, stated=stated
    )


def _second(
    number: int, variant: str, group: str, stated: str, settings: tuple[tuple[str, str], ...] = (), seed: int = 0
) -> EnsembleMember:
    return EnsembleMember(
        number=str(number),
        variant=variant,
        settings=settings,
        data=_ALL,
        seed=seed,
        group=group,
        stated=f"{_SPLIT}; {stated}" if stated else _SPLIT,
    )


def _expert(
    number: str, variant: str, data: str, stated: str, seed: int = 0, settings: tuple[tuple[str, str], ...] = ()
) -> EnsembleMember:
    return EnsembleMember(number=number, variant=variant, settings=settings, data=data, seed=seed, stated=stated)


_MMFRUIT = (
    _first(1, "mm_x101_dh_dcn", "resnext", "Table 2, row 5; the lowest of Table 4's range"),
    _first(2, "mm_senet154_dh_dcn", "senet", "Table 2, row 7; the highest of Table 4's range"),
    _first(3, "mm_x152_dh_dcn", "resnext"),
    _first(4, "mm_x101_dh_dcn", "resnext", seed=1),
    _first(5, "mm_senet154_dh_dcn", "senet", seed=1),
    _first(6, "mm_x152_dh_dcn", "resnext", seed=1),
    _first(7, "mm_cascade4_dh", "cascade", "the cascade (sec. 5.6)"),
    _first(8, "mm_cascade4_dh", "cascade", "the cascade (sec. 5.6)", seed=1),
    _first(9, "mm_x101_dh_dcn", "nas-fpn", "NAS-FPN (sec. 7.3)", settings=_NAS_FPN),
    _first(10, "mm_senet154_dh_dcn", "nas-fpn", "NAS-FPN (sec. 7.3)", settings=_NAS_FPN),
    _first(11, "mm_nasnet_dh", "nasnet"),
    _first(12, "mm_nasnet_dh", "nasnet", seed=1),
    _first(13, "mm_effb7_dh_dcn", "efficientnet"),
    _first(14, "mm_effb7_dh_dcn", "efficientnet", seed=1),
    _first(15, "mm_x101_dh_dcn", "long", _EPOCHS, settings=_LONG),
    _first(16, "mm_senet154_dh_dcn", "long", _EPOCHS, settings=_LONG),
    _second(17, "mm_senet154_dh_dcn", "all data", _EPOCHS, _LONG),
    _second(18, "mm_x152_dh_dcn", "all data", _EPOCHS, _LONG),
    _second(19, "mm_fullclass", "full class", "full-class batch and elaborate augmentation of some (sec. 5.3)"),
    _second(20, "mm_fullclass", "full class", "the same", _SENET),
    _second(21, "mm_cascade4_dh", "all data", "the cascade (sec. 5.6)"),
    _second(22, "mm_x101_dh_dcn", "weak", "weak supervision of some (sec. 5.7)", (("weak", "{}"),)),
    _second(23, "mm_senet154_dh_dcn", "weak", "the same", (("weak", "{}"),)),
    _second(24, "mm_x101_dh_dcn", "all data", "NAS-FPN (sec. 7.3)", _NAS_FPN),
    _second(25, "mm_decoupled", "decoupled", "the decoupled backbone (sec. 5.2)"),
    _second(26, "mm_decoupled", "decoupled", "the decoupled backbone (sec. 5.2)", _SENET),
    _second(27, "mm_decoupled", "decoupled", "the decoupled backbone (sec. 5.2)", _X152),
    _second(28, "mm_decoupled", "decoupled", "the decoupled backbone (sec. 5.2)", _SENET, seed=1),
    *(
        _expert(f"expert {count}", f"mm_expert{count}", f"{_ALL}; quorum zoo experts --worst {count}", "sec. 7.3")
        for count in (150, 27, 40)
    ),
    _expert(
        "COCO 1",
        "mm_r50_plain",
        "COCO, 64 shared categories",
        "Mask R-CNN with ResNet152 (sec. 7.3)",
        settings=(("backbone.name", "resnet152.tv_in1k"), ("mask", "{}")),
    ),
    _expert(
        "COCO 2",
        "mm_cascade3",
        "COCO, 64 shared categories",
        "Cascade R-CNN with ResNet50 (sec. 7.3)",
        settings=_R50,
    ),
    *(
        _expert(
            f"Objects365 {number + 1}",
            ("mm_x101_dh_dcn", "mm_senet154_dh_dcn")[number % 2],
            "Objects365, shared categories",
            "8 experts (sec. 7.3)",
            seed=number // 2,
        )
        for number in range(8)
    ),
)

ENSEMBLES: dict[str, tuple[EnsembleMember, ...]] = {"mmfruit-28": _MMFRUIT}
"""The lists by name."""


def find_ensemble(name: str) -> tuple[EnsembleMember, ...]:
    """Return the trainings of a list.

    Raises:
        InputError: If there is none of this name.
    """
    if name not in ENSEMBLES:
        raise InputError(f"ensemble {name}", "is not in the zoo", f"There are {', '.join(ENSEMBLES)}")
    return ENSEMBLES[name]
