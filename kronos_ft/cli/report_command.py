"""`kronos-ft report`: how a run went, or how several compare."""

from collections.abc import Sequence

from ft_core.report.command import report_command


def run_report_command(words: Sequence[str]) -> int:
    """`kronos-ft report RUN [RUN ...] [--lang zh|en] [--output_dir DIR]`."""
    return report_command("kronos-ft", words, "kronos_ft.report.views")
