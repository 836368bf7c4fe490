"""Data sets in which images are really copied: what a replicate of a bootstrap stands for."""


def copied(dataset, results, counts):
    """Return (dataset, results) in which image i, in order of id, occurs `counts[i]` times.

    The copies of an image lie next to each other in order of id, each with its annotations and results in their order.
    """
    images = sorted(dataset["images"], key=lambda image: image["id"])
    new_ids = {
        image["id"]: [1000 * (place + 1) + copy for copy in range(int(count))]
        for place, (image, count) in enumerate(zip(images, counts, strict=True))
    }
    new_images = [{**image, "id": new} for image in dataset["images"] for new in new_ids[image["id"]]]
    annotations = [{**row, "image_id": new} for row in dataset["annotations"] for new in new_ids[row["image_id"]]]
    for number, row in enumerate(annotations, 1):
        row["id"] = number
    found = [{**row, "image_id": new} for row in results for new in new_ids[row["image_id"]]]
    return {**dataset, "images": new_images, "annotations": annotations}, found
