"""The command line's front door: lazy sub-commands, and one place where errors become messages."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cyclopts import App

__all__ = ["app", "main"]

_WRITTEN = ("output", "save_recipe", "picture")  # parameters that name what is written, in every command


def _version() -> str:
    try:
        return version("quorum-detection")
    except PackageNotFoundError:
        return "0 (not installed)"


app = App(
    name="quorum",
    help="Turn the outputs of many detectors into one better answer, and show by how much.",
    version=_version,
    suppress_keyboard_interrupt=False,  # main() says what became of the work
)

_import = App(name="import", help="Make a detection table from a result file.")
_import.command("evaluation.cli.importing:import_coco", name="coco", help="A COCO results JSON file.")
_import.command("evaluation.cli.importing:import_open_images", name="openimages", help="An Open Images CSV file.")
app.command(_import)
app.command("evaluation.cli.measure:evaluate", name="evaluate", help="Measure tables against ground truth.")
app.command("evaluation.cli.compare:compare", name="compare", help="Say which of two tables is better, and how surely.")
app.command("evaluation.cli.leaderboard:leaderboard", name="leaderboard", help="Rank tables by AP, with intervals.")
app.command("evaluation.cli.ablate:ablate", name="ablate", help="What each step of a recipe brings, row by row.")
app.command("evaluation.cli.analyze:analyze", name="analyze", help="Find out why tables are as good as they are.")
app.command("evaluation.cli.submit:submit", name="submit", help="Write a leaderboard's submission, or check one.")
app.command("fusion.cli:fuse", name="fuse", help="Fuse tables into one.")
_export = App(name="export", help="Write a table as a result file.")
_export.command("fusion.cli:export_coco", name="coco", help="A COCO results JSON file.")
app.command(_export)
_learn = App(name="learn", help="Learn what fusion needs from a split with ground truth.")
_learn.command("evaluation.cli.learn:learn_weights", name="weights", help="Weights per member and category.")
_learn.command(
    "evaluation.cli.learn:learn_calibration", name="calibration", help="Maps that bring scores to one scale."
)
_learn.command("evaluation.cli.relations:learn_relations", name="relations", help="Which categories come together.")
_learn.command("evaluation.cli.scales:learn_scales", name="scales", help="Weights of test-time views by size.")
_learn.command("evaluation.cli.experts:learn_experts", name="experts", help="Which categories to give to which expert.")
app.command(_learn)
app.command("search.cli:split", name="split", help="Cut the images of a data set into lists.")
app.command("search.cli:search", name="search", help="Search for the best tree of members and operators.")
app.command("zoo.cli.training:train", name="train", help="Train a detector or segmenter of the zoo.")
app.command("zoo.cli.training:predict", name="predict", help="Run a trained model over a data set.")
_zoo = App(name="zoo", help="The variants of the zoo, and the members of the store.")
_zoo.command("zoo.cli.members:zoo_list", name="list", help="List the variants and the members.")
_zoo.command("zoo.cli.members:zoo_show", name="show", help="Show the card of a variant or a member.")
_zoo.command("zoo.cli.members:zoo_register", name="register", help="Take in a member trained elsewhere.")
_zoo.command("zoo.cli.members:zoo_average", name="average", help="Average the weights of several epochs.")
_zoo.command("zoo.synthetic.rendered:scenes", name="scenes", help="Render a data set.")
app.command(_zoo)
app.command("zoo.demo:demo", name="demo", help="Show the main job on a small simulated data set.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors of input end with one message and exit code 2."""
    try:
        _run(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("quorum: interrupted; nothing half-written was left\n")
        sys.exit(130)
    except BrokenPipeError:
        # the reader of a pipe has gone; Python would complain once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (ValueError, OSError) as error:
        # imported here, since the package behind it takes a second that --help must not
        from fusion.errors import InputError

        if not isinstance(error, (InputError, OSError)):
            raise
        sys.stderr.write(f"quorum: {error}\n")
        sys.exit(2)


def _run(arguments: Sequence[str] | None) -> None:
    command, bound, _ = app.parse_args(arguments)
    if command.__module__.startswith("cyclopts"):  # --help and --version, which load nothing
        command(*bound.args, **bound.kwargs)
        return
    from fusion.atomic import keep_inputs
    from fusion.errors import in_command_line

    with in_command_line():
        keep_inputs(*_paths(bound.arguments))
        command(*bound.args, **bound.kwargs)


def _paths(arguments: Mapping[str, object]) -> tuple[dict[str, Path], list[Path]]:
    """Return what a command is told to write, by parameter, and what it is told to read."""
    outputs: dict[str, Path] = {}
    inputs: list[Path] = []
    for name, value in arguments.items():
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Path) and name in _WRITTEN:
                outputs[name] = one
            elif isinstance(one, Path):
                inputs.append(one)
            elif name in ("recipe", "label_map") and isinstance(one, str) and os.path.exists(one):  # noqa: PTH110 - a name or pairs too
                inputs.append(Path(one))
            elif is_dataclass(one) and not isinstance(one, type):
                options = {field.name: getattr(one, field.name) for field in fields(one)}
                inputs += [path for path in options.values() if isinstance(path, Path)]
    return outputs, inputs


if __name__ == "__main__":
    main()
