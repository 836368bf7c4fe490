"""Expansion to ancestors in plain Python, written to the definition."""


def ancestors(parents, category):
    """All that can be reached upwards, ascending."""
    found, waiting = set(), list(parents.get(category, ()))
    while waiting:
        parent = waiting.pop()
        if parent not in found:
            found.add(parent)
            waiting.extend(parents.get(parent, ()))
    return sorted(found)


def expand(rows, parents, keep_all=False):
    """Expand rows (image, member, box, category, score), which are in the order of the input.

    Returns a list of (image, category, score, input row, rows behind it), images ascending.
    """
    copies = []
    for number, (image, member, box, category, score) in enumerate(rows):
        for rank, kind in enumerate([category, *ancestors(parents, category)]):
            copies.append((image, number, rank, kind, score, (image, member, box, kind)))
    copies.sort(key=lambda copy: copy[:3])
    if keep_all:
        return [(image, kind, score, number, [number]) for image, number, _, kind, score, _ in copies]
    answer = []
    for copy in copies:
        same = sorted((other for other in copies if other[5] == copy[5]), key=lambda other: (-other[4], other[1]))
        if same[0] is copy:
            answer.append((copy[0], copy[3], copy[4], copy[1], [other[1] for other in same]))
    return answer
