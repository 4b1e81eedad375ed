"""The command that writes reports, the same for both programs."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from ..cli.options import ExactParser

STAGE_FOLDERS = ("tokenizer", "predictor")  # of a run of both
READABLE = ("run.json", "metrics.jsonl", "trainer_state.json", "checkpoint-*/trainer_state.json")


def _runs_of(path: Path) -> list[Path]:
    """A run, or the runs of both stages if a folder holds those."""
    stages = [path / name for name in STAGE_FOLDERS if (path / name / "run.json").is_file()]
    return stages if stages and not (path / "run.json").is_file() else [path]


def _check_readable(run: Path) -> None:
    """Refuses what is no run before anything heavy is imported."""
    if not run.exists():
        raise ValueError(f"run={run} does not exist; name the folder of a run, or a trainer_state.json")
    if run.is_dir() and not any(any(run.glob(pattern)) for pattern in READABLE):
        raise ValueError(
            f"run={run} holds neither run.json with metrics.jsonl nor a trainer_state.json; name the folder of a run"
        )


def report_command(argv: Sequence[str], program: str, known: str) -> int:
    """`report RUN [RUN ...]`: the report of a run, or the comparison of several.

    Args:
        argv: the command line after the command's name.
        program: `kronos-ft` or `mt5-ft`.
        known: the module that knows the program's kinds of runs, as `VIEWS`; imported late, because it imports much.

    Raises:
        ValueError: no run there, or one of another program.
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
    options = parser.parse_args(argv)
    runs = [run for path in options.runs for run in _runs_of(path)]
    for run in runs:
        _check_readable(run)
    from .catalogue import default_language

    language, views = options.lang or default_language(), import_module(known).VIEWS
    if len(options.runs) > 1:
        from .comparison import write_comparison

        for file in write_comparison(runs, views, language, options.output_dir or Path("report-comparison")):
            print(file)
        return 0
    from .write import write_report

    for run in runs:
        folder = options.output_dir / run.name if options.output_dir and len(runs) > 1 else options.output_dir
        print("\n".join(report_lines(write_report(run, views, language, folder), language)))
    return 0


def report_lines(report: object, language: str) -> list[str]:
    """What the terminal shows of a report: the summary, a line for each problem, the files."""
    from .answers import PROBLEM
    from .causes import by_cause
    from .document import summary_of

    lines = [f"{report.facts.path}: {summary_of(report.findings, report.page.texts)}"]
    for finding in by_cause(report.findings):
        if finding.verdict == PROBLEM:
            lines.append(f"  {finding.rule.id}: {finding.account(language)}")
    return [*lines, *(str(file) for file in report.files)]
