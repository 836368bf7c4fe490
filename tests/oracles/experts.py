"""Choice of experts in plain Python, written to the definition."""


def select(rows, categories, mode="take", weights=None, gate=False):
    """Select rows (table, image, category, box, score) of base (table 0) and experts 1, 2 ...

    `categories` and `weights` are by number of the expert. Returns a list of (row, score).
    """
    answer = []
    for number, (table, image, category, box, score) in enumerate(rows):
        if table == 0:
            if mode == "take" and any(category in given for given in categories.values()):
                continue
            answer.append((number, score))
            continue
        if category not in categories[table]:
            continue
        region = [row[4] for row in rows if row[0] == table and row[1] == image and row[3] == box]
        if gate and 1 - sum(region) > max(region):
            continue
        factor = weights[table] if mode == "weigh" else 1
        factor = factor[category] if isinstance(factor, dict) else factor
        if factor > 0:
            answer.append((number, score * factor))
    return answer
