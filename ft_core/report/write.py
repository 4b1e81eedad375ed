"""Writes the report of a run into its folder, or of several into another."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from ..io.files import write_text
from ..runs.folder import NEXT_FILE, PICTURES_FILE, REPORT_HTML, REPORT_MD
from .advice import Change, gather_changes, next_settings
from .answers import PROBLEM, Finding
from .catalogue import default_language
from .causes import ask_all, by_cause
from .document import count_verdicts, run_page
from .facts import RunFacts, read_run
from .pages import Page
from .views import StageView

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """The report of one run: what was found, what is advised, and the files that were written."""

    facts: RunFacts
    findings: Sequence[Finding]
    changes: Sequence[Change]
    page: Page
    files: Sequence[Path] = ()

    def lines(self) -> list[str]:
        """What the terminal shows: the summary, a line for each problem, the files."""
        texts = self.page.texts
        lines = [f"{self.facts.path}: {texts('summary', **count_verdicts(self.findings))}"]
        problems = [one for one in by_cause(self.findings) if one.verdict == PROBLEM]
        lines += [f"  {one.rule.id}: {one.account(texts.language)}" for one in problems]
        return [*lines, *map(str, self.files)]


def make_report(run: Path, views: Sequence[StageView], language: str, folder: Path | None = None) -> Report:
    """Reads a run and makes its report without writing it; the arguments are those of [`write_report`].

    Raises:
        ValueError: nothing there to report on.
    """
    facts = read_run(run, views)
    findings = ask_all(facts)
    changes = gather_changes(findings, facts)
    is_recorded = facts.view.settings is not None and isinstance(facts.record.get("arguments"), dict)
    next_file = str((folder or run) / NEXT_FILE) if is_recorded else None
    return Report(facts, findings, changes, run_page(facts, findings, changes, language, next_file))


def write_page(page: Page, folder: Path) -> list[Path]:
    """Writes a document as Markdown, with its charts beside it, and as one HTML page; returns the two files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawing = page.drawing()
    if drawing:
        write_text(folder / PICTURES_FILE, drawing)
    write_text(folder / REPORT_MD, page.to_markdown())
    write_text(folder / REPORT_HTML, page.to_html())
    return [folder / REPORT_MD, folder / REPORT_HTML]


def write_report(run: Path, views: Sequence[StageView], language: str, folder: Path | None = None) -> Report:
    """Reads a run and writes `report.md`, `report.html` and, if its settings are known, `next.yaml`.

    Args:
        run: folder of a run, or a `trainer_state.json`.
        views: the kinds of runs that are known.
        language: en or zh.
        folder (*optional*): where to write; the run's folder by default.

    Returns:
        [`Report`]: with the files that were written.

    Raises:
        ValueError: nothing there to report on.
    """
    folder = folder or (run if run.is_dir() else run.parent)
    report = make_report(run, views, language, folder)
    files = write_page(report.page, folder)
    if report.page.content["next_file"]:
        write_text(folder / NEXT_FILE, next_settings(report.facts, report.findings, report.changes, language))
        files.append(folder / NEXT_FILE)
    return replace(report, files=files)


def report_at_end(run: Path, views: str) -> None:
    """Writes the report of a run that has just ended; a report that cannot be written never fails the run.

    Args:
        run: its folder.
        views: the module that knows its kind of run, as `VIEWS`; it imports trainers, which write reports.
    """
    try:
        write_report(run, import_module(views).VIEWS, default_language())
    except Exception as error:  # whatever it is, the run itself is complete
        reason = " ".join(str(error).split())
        logger.warning(f"no report of {run} was written ({type(error).__name__}: {reason}); the run is complete")
