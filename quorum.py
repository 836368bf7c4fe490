"""Turn the outputs of many object detectors into one better answer, and show by how much.

The front door, from Python and of the command line. Packages and functions are imported when they are first used:

    import quorum
    from quorum import evaluation, fusion, search, zoo

    truth = evaluation.read_coco("gt.json")
    members = [quorum.load(path, truth) for path in ("a.json", "b.json")]
    better = quorum.auto(members, truth)

From then on the names `fusion`, `evaluation`, `search` and `zoo` stand for Quorum's packages in this process, whatever
else of these names the working directory or the environment holds.
"""

import gc
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, is_dataclass
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cyclopts import App

if TYPE_CHECKING:
    import evaluation as evaluation
    import fusion as fusion
    import search as search
    import zoo as zoo
    from evaluation.loading import load as load
    from search.front import auto as auto

__all__ = ["app", "auto", "evaluation", "fusion", "load", "main", "search", "zoo"]

# where installed, the folders lie in one that is no package, so that none of their names is taken from anybody
_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - as other finders have it
_INSTALLED = os.path.join(_HERE, "quorum_detection")  # noqa: PTH118
_HOUSE = _INSTALLED if os.path.isdir(_INSTALLED) else _HERE  # noqa: PTH112
_FOLDERS = ("evaluation", "fusion", "search", "zoo")
_LENT = {"auto": "search.front", "load": "evaluation.loading"}


class _OwnFolders:
    """Finds the four folders, before anything that looks for packages of their names elsewhere."""

    house = _HOUSE

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return where a folder is; None for any other module."""
        return PathFinder.find_spec(name, [self.house]) if name in _FOLDERS else None


def _open_the_door() -> None:
    """Make the four names stand for our folders in this process.

    Raises:
        ImportError: If one stands for another module already.
    """
    for name in _FOLDERS:
        module = sys.modules.get(name)
        if module is not None and not _is_ours(module):
            found = getattr(module, "__file__", None) or ", ".join(getattr(module, "__path__", ["?"]))
            raise ImportError(
                f"{name!r} is imported already from {found}, and Quorum has a package of that name: one process can "
                f"have only one of them. Run Quorum in a process of its own (the command `quorum`, or a script that "
                f"imports `quorum` and not that module), or rename {name!r}",
                name=name,
                path=str(found),
            )
    if not any(getattr(finder, "house", None) == _HOUSE for finder in sys.meta_path):
        sys.meta_path.insert(0, _OwnFolders())


def _is_ours(module: ModuleType) -> bool:
    folders: list[str] = list(getattr(module, "__path__", ())) or [""]
    return os.path.realpath(os.path.dirname(folders[0])) == os.path.realpath(_HOUSE)  # noqa: PTH120


_open_the_door()


def __getattr__(name: str) -> Any:
    if name in _FOLDERS:
        return import_module(name)
    if name in _LENT:
        return getattr(import_module(_LENT[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_TABLES = ("tables", "table", "a", "b")  # parameters that name tables
_WRITTEN = ("output", "save_recipe", "picture", "html")  # parameters that name what is written, in every command


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("quorum-detection")
    except PackageNotFoundError:
        return "0 (not installed)"


app = App(
    name="quorum",
    help="Turn the outputs of many detectors into one better answer, and show by how much.",
    version=_version,
    help_epilogue="Any command with --quiet prints results, warnings and errors alone (or set QUORUM_QUIET=1).",
    help_format="plaintext",  # what reads Markdown takes as long to load as all else; commands have their own format
    suppress_keyboard_interrupt=False,  # main() says what became of the work
)


def _command(group: App, function: str, name: str, text: str) -> None:
    group.command(function, name=name, help=text, help_format="markdown")


_command(app, "evaluation.cli.importing:import_results", "import", "Make a detection table from result files.")
_command(app, "evaluation.cli.measure:evaluate", "evaluate", "Measure tables against ground truth.")
_command(app, "evaluation.cli.compare:compare", "compare", "Say which of two tables is better, and how surely.")
_command(app, "evaluation.cli.leaderboard:leaderboard", "leaderboard", "Rank tables by AP, with intervals.")
_command(app, "evaluation.cli.ablate:ablate", "ablate", "What each step of a recipe brings, row by row.")
_command(app, "evaluation.cli.analyze:analyze", "analyze", "Find out why tables are as good as they are.")
_command(app, "evaluation.cli.show:show", "show", "Draw what tables found beside the ground truth, as pictures.")
_command(app, "evaluation.cli.labels:labels", "labels", "List likely label errors, by what members agree on.")
_command(app, "evaluation.cli.check:check", "check", "Check ground truth, and what of it changes figures.")
_command(app, "evaluation.cli.report:report", "report", "Write one HTML page of all that can be said of tables.")
_command(app, "evaluation.cli.submit:submit", "submit", "Write a leaderboard's submission, or check one.")
_command(app, "evaluation.cli.fuse:fuse", "fuse", "Fuse tables into one.")
_command(app, "evaluation.cli.reparting:repart", "repart", "Cut a table into parts anew.")
_command(app, "evaluation.cli.exporting:export", "export", "Write a table as result files of another format.")
_learn = App(name="learn", help="Learn what fusion needs from a split with ground truth.")
_command(_learn, "evaluation.cli.learn:learn_weights", "weights", "Weights per member and category.")
_command(_learn, "evaluation.cli.learn:learn_calibration", "calibration", "Maps that bring scores to one scale.")
_command(_learn, "evaluation.cli.boxes:learn_boxes", "boxes", "How members draw boxes otherwise than annotators.")
_command(_learn, "evaluation.cli.scores:learn_scores", "scores", "A model that scores fused boxes by all members.")
_command(_learn, "evaluation.cli.relations:learn_relations", "relations", "Which categories come together.")
_command(_learn, "evaluation.cli.scales:learn_scales", "scales", "Weights of test-time views by size.")
_command(_learn, "evaluation.cli.experts:learn_experts", "experts", "Which categories to give to which expert.")
app.command(_learn)
_command(app, "search.cli_auto:auto", "auto", "Turn result files into a better one, and say by how much.")
_command(app, "search.cli_warmup:warmup", "warmup", "Compile what the commands use, once.")
_command(app, "search.cli:split", "split", "Cut the images of a data set into lists.")
_command(app, "search.cli:search", "search", "Search for the best tree of members and operators.")
_command(app, "zoo.cli.training:train", "train", "Train a detector or segmenter of the zoo.")
_command(app, "zoo.cli.training:predict", "predict", "Run a trained model over a data set.")
_zoo = App(name="zoo", help="The variants of the zoo, and the members of the store.")
_command(_zoo, "zoo.cli.members:zoo_list", "list", "List the variants and the members.")
_command(_zoo, "zoo.cli.members:zoo_show", "show", "Show the card of a variant or a member.")
_command(_zoo, "zoo.cli.members:zoo_register", "register", "Take in a member trained elsewhere.")
_command(_zoo, "zoo.cli.members:zoo_average", "average", "Average the weights of several epochs.")
_command(_zoo, "zoo.cli.members:zoo_convert", "convert", "Rename the weights of other people's models.")
_command(_zoo, "zoo.cli.pseudo_labels:zoo_pseudo_label", "pseudo-label", "Make annotations of what a member finds.")
_command(_zoo, "zoo.cli.anchors:zoo_anchors", "anchors", "Find the anchors that suit a data set.")
_command(_zoo, "zoo.cli.experts:zoo_experts", "experts", "Choose what an expert learns.")
_command(_zoo, "zoo.synthetic.rendered:scenes", "scenes", "Render a data set.")
app.command(_zoo)
_command(app, "zoo.demo:demo", "demo", "Show the main job on a small simulated data set.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors of input end with one message and exit code 2."""
    # what is loaded and compiled stays: to look through it for garbage again and again took 7 % of a start
    gc.set_threshold(50_000, 20, 100)
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
    words = list(sys.argv[1:] if arguments is None else arguments)
    still = os.environ.get("QUORUM_QUIET", "0") not in ("", "0")
    if "--quiet" in words:
        words.remove("--quiet")
        still = True
    command, bound, _ = app.parse_args(words)
    if command.__module__.startswith("cyclopts"):  # --help and --version, which load nothing
        command(*bound.args, **bound.kwargs)
        return
    from fusion.atomic import keep_inputs
    from fusion.errors import in_command_line

    with in_command_line(), _quiet() if still else nullcontext():
        keep_inputs(*_paths(bound.arguments))
        bound.arguments.update(_tables(bound.arguments))
        command(*bound.args, **bound.kwargs)


def _quiet() -> AbstractContextManager[None]:
    from fusion.terminal import quiet

    return quiet()


def _tables(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that name tables; result files among them are imported, beside the ground truth."""
    given = {name: arguments[name] for name in _TABLES if arguments.get(name)}
    paths = [path for value in given.values() for path in (value if isinstance(value, tuple) else (value,))]
    if all(path.suffix == ".parquet" for path in paths):
        return {}
    from evaluation.imported import is_table, table_of

    files = getattr(arguments.get("open_images"), "given", {})

    def table(path: Path) -> Path:
        return path if is_table(path) else table_of(path, arguments.get("ground_truth"), files)

    return {
        name: tuple(map(table, value)) if isinstance(value, tuple) else table(value) for name, value in given.items()
    }


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
            elif name in ("recipe", "label_map", "slices", "weights") and isinstance(one, str) and os.path.exists(one):  # noqa: PTH110 - a name or pairs too
                inputs.append(Path(one))
            elif is_dataclass(one) and not isinstance(one, type):
                options = {field.name: getattr(one, field.name) for field in fields(one)}
                inputs += [path for path in options.values() if isinstance(path, Path)]
    return outputs, inputs


if __name__ == "__main__":
    main()
