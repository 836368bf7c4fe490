"""One word means one thing: an option that several commands have is of one type in all of them."""

import pytest

import quorum

# The same word for another thing, and why it stays.
OTHERWISE = {
    ("import", "--images"): "what image_id holds, as categories says it of category_id",
    ("zoo scenes", "--images"): "how many are drawn",
    ("zoo scenes", "--groups"): "how many are drawn",
    ("import", "--scores"): "which are accepted",
    ("predict", "--scores"): "which are given",
    ("predict", "--member"): "its folder in the store, the name of which is its name",
    ("import", "--picture"): "what was done to it",
    ("zoo scenes", "--categories"): "how many are drawn",
    ("ablate", "--recipe"): "several, a row each",
    ("analyze", "--recipe"): "a file alone: what fuses the members whose worth is asked for",
    ("predict", "--weights"): "which of a training: averaged or last; or a file of another framework",
    ("predict", "--views"): "sizes, of a detector that sees each image so often",
    ("fuse", "--masks"): "what becomes of them when boxes are corrected",
    ("train", "--data"): "several, joined",
    ("zoo anchors", "--data"): "several, joined",
}
OPTIONAL = " | None"


def commands(app, before=""):
    for name in app:
        if not name.startswith("-"):
            sub = app[name]
            inner = list(commands(sub, f"{before}{name} "))
            yield from inner or [(f"{before}{name}", sub)]


@pytest.fixture(scope="module")
def options():
    """Type, other names and help of each option, by option and command."""
    found = {}
    for name, command in commands(quorum.app):
        for one in command.assemble_argument_collection(parse_docstring=True):
            if one.names and one.names[0].startswith("--"):
                words = str(one.hint).replace("typing.", "").replace("<class '", "").replace("'>", "")
                words = words.removeprefix("Optional[").removesuffix(OPTIONAL)
                kind = "str" if "Literal" in words else words
                shorts = tuple(short for short in one.names[1:] if not short.startswith("--no-"))
                found.setdefault(one.names[0], {})[name] = (kind, shorts, one.parameter.help or "")
    return found


def test_an_option_has_one_type_in_all_commands(options):
    unlike = {}
    for option, uses in options.items():
        kinds = {name: kind for name, (kind, _, _) in uses.items() if (name, option) not in OTHERWISE}
        if len(set(kinds.values())) > 1:
            unlike[option] = kinds
    assert not unlike, "\n".join(f"{option}: {kinds}" for option, kinds in unlike.items())


def test_exceptions_are_still_some(options):
    for name, option in OTHERWISE:
        rest = {kind for other, (kind, _, _) in options[option].items() if (other, option) not in OTHERWISE}
        assert rest, (name, option)
        assert rest != {options[option][name][0]}, (name, option)


def test_an_option_has_one_short_name(options):
    assert len(options) > 100
    for option, uses in options.items():
        assert len({shorts for _, shorts, _ in uses.values()}) == 1, option


def test_help_of_options_that_go_through_all_commands(options):
    for name, (_, _, words) in options["--iou-type"].items():
        assert words.startswith("Boxes or masks"), name
    for option in ("--class-descriptions", "--hierarchy", "--replicates", "--groups", "--figures"):
        assert {*options[option]} - {"fuse", "learn scores", "zoo scenes"}, option
    assert not {"--class-tree", "--classes", "--pictures"} & set(options)
