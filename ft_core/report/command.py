"""The command that writes reports, the same for both programs."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from ..cli.options import ExactParser

STAGE_FOLDERS = ("tokenizer", "predictor")  # of a run of both


def _runs_of(path: Path) -> list[Path]:
    """A run, or the runs of both stages where a folder holds those."""
    from ..runs.folder import RUN_FILE

    stages = [path / name for name in STAGE_FOLDERS if (path / name / RUN_FILE).is_file()]
    return stages if stages and not (path / RUN_FILE).is_file() else [path]


def report_command(program: str, words: Sequence[str], known: str) -> int:
    """`report RUN [RUN ...]`: the report of a run, or the comparison of several.

    Args:
        program: `kronos-ft` or `mt5-ft`.
        words: the command line after the command's name.
        known: the module that knows the program's kinds of runs, as `VIEWS`; imported late, because it imports much.

    Raises:
        ValueError: no run there, or a language that reports are not written in.
    """
    parser = ExactParser(
        prog=f"{program} report",
        description="Says how a run went and what to change: report.md, report.html and next.yaml in its folder. "
        "Several runs are compared, in the folder of --output_dir.",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", type=Path, help="run folder, Trainer folder or its state file"
    )
    parser.add_argument("--lang", choices=("zh", "en"), help="language; default: that of the locale, else en")
    parser.add_argument(
        "--output_dir", type=Path, help="where to write; default: the run's folder, or report-comparison"
    )
    options = parser.parse_args(words)
    from .wording import default_language

    language = options.lang or default_language()
    views = import_module(known).VIEWS
    runs = [run for path in options.runs for run in _runs_of(path)]
    if len(options.runs) == 1:
        from .write import write_report

        for run in runs:
            folder = (
                options.output_dir if options.output_dir is None or len(runs) == 1 else options.output_dir / run.name
            )
            print("\n".join(report_lines(write_report(run, views, language, folder), language)))
        return 0
    from .comparison import write_comparison

    for file in write_comparison(runs, views, language, options.output_dir or Path("report-comparison")):
        print(file)
    return 0


def report_lines(report: object, language: str) -> list[str]:
    """What the terminal shows of a report: counts, the problems in a line each, the files."""
    from .answers import PROBLEM
    from .causes import by_cause
    from .wording import summary_of

    lines = [f"{report.facts.path}: {summary_of(report.findings, language)}"]
    for finding in by_cause(report.findings):
        if finding.verdict == PROBLEM:
            lines.append(f"  {finding.rule.id}: {finding.account(language)}")
    return [*lines, *(str(file) for file in report.files)]
