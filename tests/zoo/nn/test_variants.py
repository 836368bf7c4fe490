"""Every variant: its row and its size; `test_numbers` trains them."""

# ruff: noqa: E402

import json
from functools import cache

import pytest

torch = pytest.importorskip("torch", reason="the extra zoo (torch) is not installed")
pytest.importorskip("timm", reason="the extra zoo (timm) is not installed")

from zoo.config import Infer, Train, TrainData, diff, read_model, replace
from zoo.models import build
from zoo.registry import variants

VARIANTS = variants()
# parameters at full scale with 80 classes
PARAMETERS = {
    "md18_r50_base": 44_343_216,
    "md18_r50_lsh_det": 50_390_960,
    "md18_r50_lsh_msroi": 55_111_600,
    "md18_r50_lsh_heavy": 46_703_536,
    "md18_r50_lsh_edge": 44_343_473,
    "md18_r50_lsh": 57_472_177,
    "md18_r50_gap": 44_867_760,
    "md18_r50_2x": 44_343_216,
    "md18_shuffle_gap": 120_966_064,
    "md18_shuffle_gap_lsh": 134_095_025,
    "md18_shuffle_gap_lsh_ms": 134_253_233,
    "md18_det_softnms": 134_253_233,
    "md18_det_mstest": 134_253_233,
    "md18_two_pass": 134_253_233,
    "md18_two_pass_mstest": 134_253_233,
    "md19_r50_fpn": 41_699_936,
    "md19_r50_dcn": 42_571_199,
    "md19_r50_dpool": 56_567_329,
    "md19_r50_4conv": 62_615_073,
    "md19_r50_fpndeform": 62_864_013,
    "md19_r50_strong_highiou": 89_286_152,
    "md19_r50_strong_classaware": 89_286_152,
    "md19_r50_strong": 91_929_432,
    "md19_r50_cascade": 69_341_646,
    "md19_r50_highiou": 41_699_936,
    "md19_r50_highiou_cascade57": 55_358_841,
    "md19_r50_highiou_cascade77": 55_358_841,
    "md19_r50_classaware": 41_699_936,
    "md19_shuffle_det": 173_871_955,
    "md19_shuffle_softnms": 173_871_955,
    "md19_shuffle_syncbn": 174_030_163,
    "md19_shuffle_ms": 174_030_163,
    "md19_shuffle_pretrain": 174_030_163,
    "md19_shuffle_o365": 174_030_163,
    "md19_shuffle_large": 174_030_163,
    "md19_shuffle_tricks": 174_292_657,
    "md19_shuffle_mstest": 174_292_657,
    "md19_senet154_det": 186_120_094,
    "md19_senet154_softnms": 186_120_094,
    "md19_senet154_syncbn": 186_362_782,
    "md19_senet154_ms": 186_362_782,
    "md19_senet154_pretrain": 186_362_782,
    "md19_senet154_o365": 186_362_782,
    "md19_senet154_large": 186_362_782,
    "md19_senet154_tricks": 186_625_276,
    "md19_senet154_mstest": 186_625_276,
    "md19_x101_det": 156_521_251,
    "md19_x101_softnms": 156_521_251,
    "md19_x101_syncbn": 156_718_883,
    "md19_x101_ms": 156_718_883,
    "md19_x101_pretrain": 156_718_883,
    "md19_x101_o365": 156_718_883,
    "md19_x101_large": 156_718_883,
    "md19_x101_tricks": 156_981_377,
    "md19_x101_mstest": 156_981_377,
    "md19_seg_base": 57_472_177,
    "md19_seg_rescore": 72_632_321,
    "md19_seg_stuff": 75_335_479,
    "md19_seg_maskcascade": 80_404_871,
    "md19_seg_shuffle_ms": 157_027_719,
    "md19_two_pass": 157_027_719,
    "md19_two_pass_mstest": 157_027_719,
    "lt_r50_mask": 44_343_216,
    "lt_r50_da": 44_343_216,
    "lt_r50_eql": 44_342_191,
    "lt_r50_rfs": 44_342_191,
    "lt_r50_htc": 77_399_995,
    "lt_s101": 101_970_245,
    "lt_s101_tricks": 101_970_245,
    "lt_s101_st": 101_970_245,
    "lt_s101_ms": 118_310_549,
    "lt_s200": 141_580_432,
    "lt_s269": 183_768_189,
    "lt_s101_gs": 101_988_695,
    "lt_s101_gs_hm": 110_313_287,
    "lt_s269_full": 397_908_285,
    "ab_repr": 444_771_710,
    "ab_bgs": 444_787_085,
    "ab_double": 445_051_535,
    "ab_bmosaic": 445_051_535,
    "ab_unlabeled": 445_051_535,
    "mm_x50_plain": 41_156_704,
    "mm_x50_classaware": 41_156_704,
    "mm_r50_plain": 41_699_936,
    "mm_r50_dh": 73_271_125,
    "mm_r50_plain_dcn": 42_280_778,
    "mm_r50_dh_dcn": 73_851_967,
    "mm_x101_plain": 99_467_691,
    "mm_x101_dh": 131_038_880,
    "mm_x101_plain_dcn": 104_610_759,
    "mm_x101_dh_dcn": 136_181_948,
    "mm_x152_plain": 138_292_651,
    "mm_x152_dh": 169_863_840,
    "mm_x152_plain_dcn": 145_924_345,
    "mm_x152_dh_dcn": 177_495_534,
    "mm_senet154_plain": 131_056_731,
    "mm_senet154_dh": 162_627_920,
    "mm_senet154_plain_dcn": 134_873_001,
    "mm_senet154_dh_dcn": 166_444_190,
    "mm_nasnet_plain": 23_859_403,
    "mm_nasnet_dh": 55_430_592,
    "mm_effb7_plain": 79_373_051,
    "mm_effb7_dh": 110_944_240,
    "mm_effb7_plain_dcn": 83_090_231,
    "mm_effb7_dh_dcn": 114_661_420,
    "mm_r50_dh_mt": 73_271_125,
    "mm_decoupled": 268_776_726,
    "mm_fullclass": 136_181_948,
    "mm_cascade3": 162_514_711,
    "mm_cascade4": 176_497_516,
    "mm_cascade4_dh": 301_486_672,
    "mm_wsddn": 41_863_936,
    "mm_box_refiner": 67_955_404,
    "mm_hrnet_200_300": 65_846_402,
    "mm_hrnet_112": 65_846_402,
    "mm_hrnet_256": 65_846_402,
    "mm_hrnet_256_flip": 65_846_402,
    "mm_expert10": 131_056_731,
    "mm_expert27": 131_056_731,
    "mm_expert40": 131_056_731,
    "mm_expert150": 131_056_731,
    # torchvision's own numbers, without the background's boxes and masks, and with biases in the place of norms
    "torchvision_frcnn": 41_699_936,
    "torchvision_mrcnn": 44_343_216,
    "torchvision_frcnn_v2": 43_600_736,
    "torchvision_mrcnn_v2": 46_244_016,
}


def network(model):
    """What of a config decides which network it is, and what of it learns."""
    kept = {name: value for name, value in model.to_dict().items() if name not in ("train", "data", "infer")}
    return json.dumps(kept | {"freeze": model.train.freeze}, sort_keys=True)


def networks():
    """One variant of each network at tiny scale."""
    seen = {}
    for name, variant in VARIANTS.items():
        seen.setdefault(network(variant.make("tiny")), name)
    return list(seen.values())


def networks_to_run():
    """The same; slow are those all of whose parts are in the ones before, only together in none of them."""
    known, given = set(), []
    for name in networks():
        parts = set(leaves(json.loads(network(VARIANTS[name].make("tiny")))))
        given.append(pytest.param(name, marks=[pytest.mark.slow] if parts <= known else []))
        known |= parts
    return given


def leaves(values, path=""):
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}.{key}")
        else:
            yield f"{path}.{key}={value}"


@cache
def size(model_json):
    return sum(parameter.numel() for parameter in build(read_model(json.loads(model_json)), 80, "meta").parameters())


@pytest.mark.parametrize("name", VARIANTS)
def test_a_row_differs_from_its_parent_in_what_it_says(name):
    variant = VARIANTS[name]
    model = variant.make()
    model.validate()
    variant.make("tiny").validate("cpu")
    if variant.parent is not None:
        assert set(diff(VARIANTS[variant.parent].make(), model)) == set(variant.changes)
    else:
        assert not variant.changes
    assert variant.boxes_from is None or variant.boxes_from in VARIANTS
    for scale in ("full", "tiny"):
        made = variant.make(scale)
        assert read_model(json.loads(json.dumps(made.to_dict()))) == made


@pytest.mark.parametrize("name", VARIANTS)
def test_size_at_full_scale(name):
    model = VARIANTS[name].make()
    # rows that only differ in these are built once; two classifiers need two streams, crop segmenters crops
    train, data = Train(batch=model.train.batch), TrainData(streams=model.data.streams, crop=model.data.crop)
    shape = replace(model, train=train, data=data, infer=Infer())
    assert size(json.dumps(shape.to_dict(), sort_keys=True)) == PARAMETERS[name]
