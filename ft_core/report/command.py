"""The command that writes reports, the same for both programs."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from ..cli.options import ExactParser
from ..cli.program import load_function
from ..runs.folder import RUN_FILE

STAGE_FOLDERS = ("tokenizer", "predictor", "quantiles")  # of a run of several stages
LOG_HELP = ", or text log of the published scripts"


def _runs_of(path: Path) -> list[Path]:
    """A run, or the runs of the stages if a folder holds those."""
    stages = [path / name for name in STAGE_FOLDERS if (path / name / RUN_FILE).is_file()]
    return stages if stages and not (path / RUN_FILE).is_file() else [path]


def report_command(argv: Sequence[str], program: str, known: str, unpack: str = "") -> int:
    """`report RUN [RUN ...]`: the report of a run, or the comparison of several.

    Args:
        argv: the command line after the command's name.
        program: `kronos-ft` or `mt5-ft`.
        known: the module that knows the program's kinds of runs, as `VIEWS`; imported late, because it imports much.
        unpack (*optional*): `module:function` that writes a text log of another program as folders of a Trainer.

    Returns:
        The exit status, 0.

    Raises:
        ValueError: no run there, or one of another program.
    """
    parser = ExactParser(
        prog=f"{program} report",
        description="Summarises a run and recommends settings: report.md, report.html and next.yaml in its folder. "
        "Several runs are compared, in the folder of --output_dir.",
    )
    read = "run folder, Trainer folder or its state file" + (LOG_HELP if unpack else "")
    parser.add_argument("runs", nargs="+", metavar="RUN", type=Path, help=read)
    parser.add_argument("--lang", choices=("zh", "en"), help="language; default: that of the locale, else en")
    parser.add_argument(
        "--output_dir", type=Path, help="where to write; default: the run's folder, or report-comparison"
    )
    options = parser.parse_args(argv)
    from .reading import check_readable

    unpacked, runs = [], []
    for path in options.runs:
        found = load_function(unpack)(path, options.output_dir or path.parent) if unpack and path.is_file() else []
        unpacked += found
        runs += found or _runs_of(path)
    for run in runs:
        check_readable(run)
    from .catalogue import default_language
    from .write import write_report

    language, views = options.lang or default_language(), import_module(known).VIEWS
    if len(options.runs) > 1:
        from .comparison import write_comparison

        files = write_comparison(runs, views, language, options.output_dir or Path("report-comparison"))
        print("\n".join(map(str, files)))
        return 0
    for run in runs:
        folder = options.output_dir / run.name if options.output_dir and len(runs) > 1 else options.output_dir
        print("\n".join(write_report(run, views, language, None if run in unpacked else folder).lines()))
    return 0
