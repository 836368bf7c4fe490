"""Small data sets drawn at random, and results on them that do not mean what they seem to mean."""

import json
import random
import unicodedata
from pathlib import Path

NAMES = [
    *("person", "car", "bicycle", "dog", "cat", "bus", "train", "horse", "sheep"),
    *("cow", "chair", "sofa", "table", "plant", "screen", "boat", "bird", "bottle"),
]
TWO_WORDS = ["traffic light", "stop sign", "Hot Dog", "cell phone", "tennis racket"]


def data_set(seed, *, categories=None, gaps=True, sizes="many", names="plain"):
    """Return a COCO ground truth; boxes are whole pixels inside their image."""
    rng = random.Random(seed)
    count = categories or rng.randint(3, 9)
    ids = sorted(rng.sample(range(1, 60), count)) if gaps else list(range(1, count + 1))
    words = rng.sample(NAMES + TWO_WORDS, count)
    shapes = [(640, 480), (480, 640), (500, 375), (1280, 720), (800, 600)]
    shapes = shapes if sizes == "many" else [rng.choice(shapes)]
    images, annotations = [], []
    numbers = rng.sample(range(1, 999), 12) if gaps else list(range(1, 13))
    for place, number in enumerate(numbers):
        width, height = rng.choice(shapes)
        name = {
            "plain": f"frame_{rng.randint(0, 10**6):07d}.jpg",
            "number": f"{number:012d}.jpg",
            "folders": f"val/{place % 3}/frame_{rng.randint(0, 10**6):07d}.png",
            "unicode": f"straße_é_{rng.randint(0, 10**6)}.jpg",
        }[names]
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for _ in range(rng.randint(3, 6)):
            w, h = rng.randint(width // 12, width // 4), rng.randint(height // 12, height // 4)
            x, y = rng.randint(0, width - w), rng.randint(0, height - h)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": rng.choice(ids),
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
    return {
        "info": {"noise": seed % 3 == 0},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": n} for i, n in zip(ids, words, strict=True)],
    }


def results(truth, **changes):
    """Return a detection for each object; `changes` turns a key into a function of (annotation, image, record).

    Of every third data set they are a detector's: 15 % of the objects are missed, boxes lie 5 % off, and a third of the
    detections are of nothing.
    """
    images = {image["id"]: image for image in truth["images"]}
    records = []
    for number, annotation in enumerate(_found(truth) if truth["info"]["noise"] else truth["annotations"]):
        record = {
            "image_id": annotation["image_id"],
            "category_id": annotation["category_id"],
            "bbox": [float(v) for v in annotation["bbox"]],
            "score": round(0.999 - number / 200, 4),
        }
        plain = dict(record)
        for key, change in changes.items():
            value = change(annotation, images[annotation["image_id"]], plain)
            if value is None:
                record.pop(key, None)
            else:
                record[key] = value
        records.append(record)
    return records


def _found(truth):
    rng = random.Random(len(truth["annotations"]))
    found, nothing = [], []
    for annotation in truth["annotations"]:
        x, y, w, h = annotation["bbox"]
        moved = [x + rng.gauss(0, 0.05) * w, y + rng.gauss(0, 0.05) * h, w * rng.uniform(0.93, 1.07), h]
        if rng.random() > 0.15:
            found.append(annotation | {"bbox": moved})
        if rng.random() < 0.5:
            nothing.append(annotation | {"bbox": [rng.randint(0, 300), rng.randint(0, 200), rng.randint(9, 99), 50]})
    return found + nothing


def box(change):
    """Return a change of the box, a function of x, y, w, h and the width and height of the image."""
    return {"bbox": lambda a, i, r: change(*r["bbox"], i["width"], i["height"])}


def scaled(s, x, y, w, h, left=0.0, top=0.0):
    return [x * s + left, y * s + top, w * s, h * s]


def fit(longer, shorter):
    def change(x, y, w, h, width, height):
        return scaled(min(longer / max(width, height), shorter / min(width, height)), x, y, w, h)

    return change


def letterbox(wide, high):
    def change(x, y, w, h, width, height):
        s = min(wide / width, high / height)
        return scaled(s, x, y, w, h, (wide - s * width) / 2, (high - s * height) / 2)

    return change


def stretched(wide, high):
    def change(x, y, w, h, width, height):
        return [x * wide / width, y * high / height, w * wide / width, h * high / height]

    return change


BOXES = {
    "xyxy": lambda x, y, w, h, *_: [x, y, x + w, y + h],
    "cxcywh": lambda x, y, w, h, *_: [x + w / 2, y + h / 2, w, h],
    "yxhw": lambda x, y, w, h, *_: [y, x, h, w],
    "yxyx": lambda x, y, w, h, *_: [y, x, y + h, x + w],
}
PICTURES = {
    "mirrored": lambda rng: lambda x, y, w, h, width, height: [width - x - w, y, w, h],
    "flipped": lambda rng: lambda x, y, w, h, width, height: [x, height - y - h, w, h],
    "scaled": lambda rng: (lambda s: lambda x, y, w, h, *_: scaled(s, x, y, w, h))(
        rng.choice([0.5, 2, 0.25, 1.6, 0.7, rng.uniform(0.3, 0.8), rng.uniform(1.4, 3)])
    ),
    "fit": lambda rng: fit(*rng.choice([(1333, 800), (1000, 600), (2000, 1200), (512, 512), (1111, 777)])),
    "letterbox": lambda rng: letterbox(*rng.choice([(640, 640), (416, 416), (1024, 1024), (672, 672), (1280, 1280)])),
    "stretched": lambda rng: stretched(*rng.choice([(300, 300), (512, 512), (640, 640), (900, 300), (1024, 768)])),
}


def _normalized(change):
    def shares(x, y, w, h, width, height):
        return change(x / width, y / height, w / width, h / height, 1, 1)

    return shares


def boxes_of_a_format(seed):
    truth = data_set(seed)
    return truth, results(truth, **box(random.Random(seed).choice(list(BOXES.values()))))


def normalized_boxes(seed):
    truth = data_set(seed)
    change = random.Random(seed).choice([lambda x, y, w, h, *_: [x, y, w, h], *BOXES.values()])
    return truth, results(truth, **box(_normalized(change)))


def boxes_of_other_pictures(seed):
    rng = random.Random(seed)
    truth = data_set(seed, sizes=rng.choice(["one", "many"]))
    return truth, results(truth, **box(PICTURES[rng.choice(list(PICTURES))](rng)))


def corners_in_a_letterbox(seed):
    truth = data_set(seed)
    inside = letterbox(640, 640)
    return truth, results(truth, **box(lambda *numbers: BOXES["xyxy"](*inside(*numbers))))


def image_ids_off_by_one(seed):
    truth = data_set(seed, gaps=False)
    by = random.Random(seed).choice([-1, 1])
    known = {image["id"] for image in truth["images"]}
    found = results(truth, image_id=lambda a, i, r: i["id"] + by)
    return truth, [record for record in found if seed % 2 or record["image_id"] in known]


def image_ids_that_count(seed):
    rng = random.Random(seed)
    truth = data_set(seed)
    first = rng.choice([0, 1])
    order = [image["id"] for image in truth["images"]]
    if seed % 3 == 1:
        order = sorted(order)
    elif seed % 3 == 2:
        order = [i for _, i in sorted((image["file_name"], image["id"]) for image in truth["images"])]
    return truth, results(truth, image_id=lambda a, i, r: order.index(i["id"]) + first)


def image_ids_off_and_centres(seed):
    truth = data_set(seed, gaps=False)
    change = random.Random(seed).choice([BOXES["cxcywh"], _normalized(BOXES["cxcywh"])])
    return truth, results(truth, **box(change), image_id=lambda a, i, r: i["id"] + 1)


def permuted_categories(seed):
    rng = random.Random(seed)
    truth = data_set(seed, categories=rng.randint(3, 5))
    ids = [category["id"] for category in truth["categories"]]
    turned = ids[1:] + ids[:1]
    if rng.random() < 0.3:
        turned = [ids[1], ids[0], *ids[2:]]  # only two of them
    meant = dict(zip(ids, turned, strict=True))
    return truth, results(truth, category_id=lambda a, i, r: meant[r["category_id"]])


def counted_categories(seed):
    truth = data_set(seed)
    ids = [category["id"] for category in truth["categories"]]
    first = seed % 2
    return truth, results(truth, category_id=lambda a, i, r: ids.index(r["category_id"]) + first)


def shifted_categories(seed):
    truth = data_set(seed, gaps=False)
    return truth, results(truth, category_id=lambda a, i, r: r["category_id"] + (-1, 1)[seed % 2])


def coco_categories(seed):
    from fusion.coco_results.category_join import COCO_IDS

    truth = data_set(seed, categories=3)
    truth["categories"] = [{"id": i, "name": f"category {i}"} for i in COCO_IDS]
    rng = random.Random(seed)
    for annotation in truth["annotations"]:
        annotation["category_id"] = rng.choice(COCO_IDS[seed % 4 :: 20])
    return truth, results(truth, category_id=lambda a, i, r: COCO_IDS.index(r["category_id"]) + seed % 2)


WRONG = [
    boxes_of_a_format,
    normalized_boxes,
    boxes_of_other_pictures,
    corners_in_a_letterbox,
    image_ids_off_by_one,
    image_ids_that_count,
    image_ids_off_and_centres,
    permuted_categories,
    counted_categories,
    shifted_categories,
    coco_categories,
]


def _otherwise(name, rng):
    stem = name.rpartition(".")[0]
    return rng.choice(
        [
            name,
            "images/" + name,
            "C:\\data\\" + name.replace("/", "\\"),
            stem,
            unicodedata.normalize("NFD", name),
            stem + ".PNG",
        ]
    )


def names_of_files(seed):
    """File names in place of ids, or beside ids that mean other images."""
    rng = random.Random(seed)
    truth = data_set(seed, names=rng.choice(["plain", "folders", "unicode"]))
    spelled = {image["id"]: _otherwise(image["file_name"], rng) for image in truth["images"]}
    ids = [image["id"] for image in truth["images"]]
    other = dict(zip(ids, ids[1:] + ids[:1], strict=True))
    number = rng.choice([lambda a, i, r: None, lambda a, i, r: other[i["id"]], lambda a, i, r: ids.index(i["id"])])
    key = rng.choice(["file_name", "image_name"])
    return truth, results(truth, image_id=number, **{key: lambda a, i, r: spelled[i["id"]]})


def stems_as_ids(seed):
    rng = random.Random(seed)
    truth = data_set(seed, names=rng.choice(["plain", "number", "unicode"]))
    if seed % 3 == 0:  # some names are numbers, and then so are the ids
        for image in truth["images"][::2]:
            image["file_name"] = f"{image['id']:06d}.jpg"

    def stem(annotation, image, record):
        text = Path(image["file_name"]).stem
        return int(text) if text.isdigit() and seed % 2 else text

    return truth, results(truth, image_id=stem)


def names_of_categories(seed):
    rng = random.Random(seed)
    truth = data_set(seed)
    names = {category["id"]: category["name"] for category in truth["categories"]}
    ids = list(names)
    change = rng.choice([str, str.upper, lambda s: s.replace(" ", "_").title(), lambda s: s.replace(" ", "-")])
    if rng.random() < 0.4:
        return truth, results(truth, category_id=lambda a, i, r: change(names[r["category_id"]]))
    other = dict(zip(ids, ids[1:] + ids[:1], strict=True))
    number = rng.choice(
        [lambda a, i, r: None, lambda a, i, r: other[r["category_id"]], lambda a, i, r: ids.index(r["category_id"])]
    )
    return truth, results(truth, category_id=number, category_name=lambda a, i, r: change(names[r["category_id"]]))


READ = [names_of_files, stems_as_ids, names_of_categories]


def write(folder, truth, records):
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "gt.json", folder / "a.json"
    for path, content in zip(paths, (truth, records), strict=True):
        path.write_text(json.dumps(content))
    return paths
