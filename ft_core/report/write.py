"""Writes the report of a run into its folder, or of several into another."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ..io.files import write_text
from ..runs.folder import NEXT_FILE, PICTURES_FILE, REPORT_HTML, REPORT_MD
from .advice import Change, gather_changes, next_settings
from .answers import Finding
from .blocks import Document, Picture
from .causes import ask_all, without_cure
from .charts import HEIGHT, STYLE, WIDTH, draw
from .checklist import rules_for
from .document import run_document
from .facts import RunFacts, read_run
from .markdown import to_markdown
from .render import to_html
from .views import StageView
from .wording import default_language

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """A written report of one run: what was found, what is advised, and its files."""

    facts: RunFacts
    findings: Sequence[Finding]
    changes: Sequence[Change]
    files: Sequence[Path]


def all_pictures(document: Document) -> str:
    """All charts of a document in one SVG, two in a row; empty without one."""
    drawn = [draw(block.chart) for block in document.blocks if isinstance(block, Picture)]
    drawn = [svg for svg in drawn if svg]
    if not drawn:
        return ""
    rows = -(-len(drawn) // 2)
    placed = "".join(
        svg.replace("<svg ", f'<svg x="{position % 2 * WIDTH}" y="{position // 2 * HEIGHT}" ', 1)
        for position, svg in enumerate(drawn)
    )
    width, height = 2 * WIDTH, rows * HEIGHT
    paper = ".paper { fill: #fff; } @media (prefers-color-scheme: dark) { .paper { fill: #14191f; } }"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<style>{STYLE} {paper}</style><rect class="paper" width="{width}" height="{height}"/>{placed}</svg>\n'
    )


def write_document(document: Document, folder: Path) -> list[Path]:
    """Writes a document as Markdown, with its pictures beside it, and as one HTML page; returns the two files."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = all_pictures(document)
    if pictures:
        write_text(folder / PICTURES_FILE, pictures)
    shown = [block for block in document.blocks if isinstance(block, Picture)]
    blocks = [block for block in document.blocks if not isinstance(block, Picture) or block is shown[0]]
    text = to_markdown(Document(document.language, document.title, blocks), lambda picture: PICTURES_FILE)
    write_text(folder / REPORT_MD, text)
    write_text(folder / REPORT_HTML, to_html(document))
    return [folder / REPORT_MD, folder / REPORT_HTML]


def write_report(run: Path, views: Sequence[StageView], language: str, folder: Path | None = None) -> Report:
    """Reads a run and writes `report.md`, `report.html` and, where its settings are known, `next.yaml`.

    Args:
        run: folder of a run, or a `trainer_state.json`.
        views: the kinds of runs that are known.
        language: en or zh.
        folder (*optional*): where to write; the run's folder when not given.

    Raises:
        ValueError: nothing there to report on.
    """
    facts = read_run(run, views)
    folder = folder or (run if run.is_dir() else run.parent)
    findings = ask_all(rules_for(facts.view), facts)
    changes = gather_changes(findings, facts, language)
    known = facts.view.settings is not None and isinstance(facts.record.get("arguments"), dict)
    document = run_document(facts, findings, changes, language, str(folder / NEXT_FILE) if known else None)
    files = write_document(document, folder)
    if known:
        first, _ = without_cure(findings, [rule for change in changes for rule in change.rules])
        write_text(folder / NEXT_FILE, next_settings(facts, changes, language, first))
        files.append(folder / NEXT_FILE)
    return Report(facts, findings, changes, files)


def report_at_end(run: Path, views: str) -> None:
    """Writes the report of a run that has just ended; one that cannot be written never fails the run.

    Args:
        run: its folder.
        views: the module that knows its kind of run, as `VIEWS`; it imports trainers, which write reports.
    """
    try:
        from .write import write_report

        write_report(run, import_module(views).VIEWS, default_language())
    except Exception as error:  # whatever it is, the run itself is whole
        words = " ".join(str(error).split())
        logger.warning(f"no report of {run} was written ({type(error).__name__}: {words}); the run is whole")
