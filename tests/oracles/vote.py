"""Top-k voting as its definition reads: one cell, plain Python."""


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    if shared <= 0:
        return 0.0
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def vote(boxes, scores, members, k, score_share, box_share, threshold):
    """Return [(score, corners, votes, [rows])] of one cell, rows in input order, sorted by score then row."""
    order = sorted(range(len(boxes)), key=lambda i: (-scores[i], i))
    kept = []
    for i in order:
        if all(iou(boxes[j], boxes[i]) <= threshold for j in kept):
            kept.append(i)
    answer = []
    for i in kept:
        near = [j for j in order if j != i and iou(boxes[i], boxes[j]) > threshold]
        near.sort(key=lambda j: (members[j] == members[i], -iou(boxes[i], boxes[j])))
        near = near[:k]
        score, corners = scores[i], list(boxes[i])
        if near:
            score += score_share * sum(scores[j] for j in near)
            mean = [sum(boxes[j][c] for j in near) / len(near) for c in range(4)]
            corners = [(1 - box_share) * boxes[i][c] + box_share * mean[c] for c in range(4)]
        answer.append((score, corners, len({members[j] for j in [i, *near]}), [i, *near]))
    return sorted(answer, key=lambda entry: (-entry[0], entry[3][0]))
