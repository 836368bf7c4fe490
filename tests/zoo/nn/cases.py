"""Small painted images and their annotations."""

import torch

from zoo.data.masks import mask_pixels, pack
from zoo.data.record import Target

CLASSES = 3
COLOURS = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9]])


def octagon(x1, y1, x2, y2):
    w, h = (x2 - x1) / 4, (y2 - y1) / 4
    corners = [
        (x1 + w, y1),
        (x2 - w, y1),
        (x2, y1 + h),
        (x2, y2 - h),
        (x2 - w, y2),
        (x1 + w, y2),
        (x1, y2 - h),
        (x1, y1 + h),
    ]
    return [[value for corner in corners for value in corner]]


def scene(number, objects=3, size=(128, 128), runs=False, stuff=True, **given):
    """An image of coloured octagons, one colour per class, that hardly overlap."""
    random = torch.Generator().manual_seed(number)
    height, width = size
    image = torch.rand(3, height, width, generator=random) * 0.1
    boxes, labels, masks = [], [], []
    for place in torch.randperm(9, generator=random)[:objects].tolist():
        x = (place % 3) * width / 3 + 2 + 4 * torch.rand((), generator=random).item()
        y = (place // 3) * height / 3 + 2 + 4 * torch.rand((), generator=random).item()
        w, h = (18 + 18 * torch.rand(2, generator=random)).tolist()
        label = int(torch.randint(1, CLASSES + 1, (), generator=random))
        box = [x, y, min(x + w, width - 1), min(y + h, height - 1)]
        polygon = octagon(*box)
        inside = torch.from_numpy(mask_pixels(polygon, size).copy()).bool()
        image[:, inside] = COLOURS[label - 1][:, None]
        boxes.append(box)
        labels.append(label)
        masks.append(pack(inside.numpy()) if runs else polygon)
    values = {
        "boxes": torch.tensor(boxes).view(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "masks": masks,
        "stuff": (image.sum(0) > 0.5).to(torch.uint8) if stuff else None,
    }
    return image, Target.empty(number, size, **(values | given))


def batch(*numbers, **given):
    """Images of two streams by turns, and their targets."""
    scenes = (scene(number, stream=place % 2, **given) for place, number in enumerate(numbers))
    return tuple(list(part) for part in zip(*scenes, strict=True))
