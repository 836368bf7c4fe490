"""The public package tidecv run on COCO dictionaries."""

import contextlib
import io


def tidecv_errors(dataset, results, mode="bbox", max_dets=100, iou=0.5, background=0.1):
    """Return (AP, counts, costs) of tidecv in its own units (0 to 100)."""
    from tidecv import TIDE, Data

    truth, found = Data("truth", max_dets=max_dets), Data("found")
    for image in sorted(image["id"] for image in dataset["images"]):
        truth.add_image(image, str(image))
    for category in dataset["categories"]:
        truth.add_class(category["id"], str(category["id"]))
    for row in dataset["annotations"]:
        add = truth.add_ignore_region if row["iscrowd"] else truth.add_ground_truth
        add(row["image_id"], row["category_id"], row["bbox"], row.get("segmentation"))
    known = {category["id"] for category in dataset["categories"]}
    for row in results:
        if row["category_id"] in known:
            found.add_detection(row["image_id"], row["category_id"], row["score"], row["bbox"], row.get("segmentation"))
    tide = TIDE()
    with contextlib.redirect_stdout(io.StringIO()):
        run = tide.evaluate(
            truth,
            found,
            pos_threshold=iou,
            background_threshold=background,
            mode=TIDE.BOX if mode == "bbox" else TIDE.MASK,
        )
        main, special = run.fix_main_errors(), run.fix_special_errors()
    counts = {error.short_name: count for error, count in run.count_errors().items()}
    return run.ap, counts, {error.short_name: cost for error, cost in (main | special).items()}
