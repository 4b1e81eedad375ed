"""Checks files of records before a training: lengths, duplicates, empty fields, scripts, texts in two files.

Notable:
- A finding is one line with file, line and what to do. Findings of training (defects, sources in two files) reject a
  file under policy `error`, as `mt5-ft train` would; the others are remarks.
- Shares of scripts count letters by their Unicode script. This is no language detection.
- A target in another script than most is a finding where such targets are few; a file in two languages is not one.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import regex

from ..data.fields import MISSING, lookup
from ..data.jsonl import Defect
from ..data.preprocessing import fitting_length
from ..data.records import DEFECTS, Record, TaskFields, read_records
from ..summaries.rouge import HAN, normalise_text

SIDES = ("source", "target")
SHOWN = 5  # findings of a kind
FEW = 0.2  # share of targets in another script, from which a file counts as mixed, such as the embedded sample
SCRIPTS = {"Chinese": regex.compile(f"[{HAN}]"), "Latin": regex.compile(r"\p{Latin}")}
OTHER_SCRIPT = "other"
# a letter of these says about as much as a word of the others
_SYLLABLES = r"\p{Hiragana}\p{Katakana}\p{Hangul}"
_LATIN_WORD = regex.compile(r"\p{Latin}[\p{Latin}\p{M}'’-]*")
_OTHER_WORD = regex.compile(rf"[{_SYLLABLES}]|[\p{{L}}--\p{{Latin}}--\p{{Han}}--[{_SYLLABLES}]]+", regex.VERSION1)
_LETTER, _PLAIN = regex.compile(r"\p{L}"), regex.compile(r"[\p{L}\p{M}\p{N}]+")
LEAKS = ("same_source_elsewhere", "nearly_same_source_elsewhere")
REMEDIES = {
    "duplicate": "remove one of the two rows",
    "same_source": "keep one of the targets, unless both are wanted",
    "empty_field": "fill it in, or leave the field out of --source_fields and --target_fields",
    "script": "check that the row belongs to the file",
    "same_source_elsewhere": "remove the row from one of the files; --policy drop trains without it",
    "nearly_same_source_elsewhere": "compare the rows and remove one, or the scores are of a text that was trained on",
}
DEFECT_REMEDY = "correct the row, or pass --policy drop to leave it out"


@dataclass(frozen=True)
class Finding:
    """A finding in a line of a file; `kind` is a key of `REMEDIES` or of `DEFECTS`."""

    kind: str
    line: int
    text: str

    def remedy(self) -> str:
        """What to do about it."""
        return REMEDIES.get(self.kind, DEFECT_REMEDY)


@dataclass
class CheckedFile:
    """What was found in a file.

    Attributes:
        rows, records (`int`): rows that were read, and those that training would use.
        remark (`str`): fields that were found in the rows; empty if they are named.
        unit (`str`): of the lengths, `tokens` or `characters`.
        lengths (`dict`): median, 95th percentile and maximum of each side.
        scripts (`dict`): shares of the letters of each side, by script.
        cuts (`dict`): the default limit of each side and how many records it truncates; empty without a tokenizer.
    """

    file: str
    rows: int
    records: int
    fields: TaskFields
    remark: str = ""
    unit: str = "characters"
    lengths: dict[str, dict[str, int]] = field(default_factory=dict)
    scripts: dict[str, dict[str, float]] = field(default_factory=dict)
    cuts: dict[str, dict[str, int]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def passes(self, policy: str) -> bool:
        """Whether training accepts the file under a policy."""
        decisive = [one for one in self.findings if one.kind in (*DEFECTS, LEAKS[0])]
        return policy == "drop" or not decisive

    def lines(self, policy: str) -> list[str]:
        """The text for people."""
        fields = f"source <- {', '.join(self.fields.sources)}; target <- {', '.join(self.fields.targets)}"
        lines = [self.file, f"  fields    {self.remark or fields}"]
        lines.append(f"  rows      {self.rows:,} read, {self.records:,} usable")
        for side, found in self.lengths.items():
            lines.append(
                f"  {side}s   {found['median']:,} {self.unit} at the median, {found['p95']:,} at the 95th percentile, "
                f"{found['max']:,} at most"
            )
        if self.cuts:
            limits = " and ".join(f"max_{side}_length {cut['limit']:,}" for side, cut in self.cuts.items())
            cut = " and ".join(f"{cut['truncated']:,} {side}s" for side, cut in self.cuts.items())
            lines.append(f"  defaults  {limits} would truncate {cut}")
        shares = "; ".join(
            f"{side}s {', '.join(f'{share:.0%} {name}' for name, share in found.items())}"
            for side, found in self.scripts.items()
        )
        lines.append(f"  scripts   {shares} (share of letters by script; no language detection)")
        shown: Counter[str] = Counter()
        totals = Counter(one.kind for one in self.findings)
        for one in self.findings:
            shown[one.kind] += 1
            if shown[one.kind] <= SHOWN:
                lines.append(f"{self.file}:{one.line}: {one.text}; {one.remedy()}")
            elif shown[one.kind] == totals[one.kind]:
                lines.append(f"{self.file}: {totals[one.kind] - SHOWN:,} more of this kind; --json lists all")
        accepted = self.passes(policy)
        more = "" if accepted else " (see the lines above; --policy drop accepts the file without these rows)"
        return [*lines, f"  {'OK        ' if accepted else 'REJECTED  '}under policy {policy}{more}"]

    def as_json(self, policy: str) -> dict[str, object]:
        """All findings as plain values."""
        values = asdict(self)
        values["fields"] = {"sources": list(self.fields.sources), "targets": list(self.fields.targets)}
        values["findings"] = [asdict(one) | {"remedy": one.remedy()} for one in self.findings]
        return values | {"accepted": self.passes(policy)}


def script_of(text: str) -> Counter[str]:
    """Letters of a text by script: Chinese, Latin, other."""
    counts = Counter({name: len(pattern.findall(text)) for name, pattern in SCRIPTS.items()})
    counts[OTHER_SCRIPT] = max(0, len(_LETTER.findall(text)) - sum(counts.values()))
    return counts


def main_script(text: str) -> str | None:
    """The script that most of a text is in; None without letters.

    Words are counted, and of Chinese, Japanese and Korean letters: a Chinese character says about as much as an English
    word, so that a few terms such as `cognitive behavioural therapy` do not outweigh the Chinese around them.
    """
    words = {"Latin": len(_LATIN_WORD.findall(text)), OTHER_SCRIPT: len(_OTHER_WORD.findall(text))}
    counts = {**script_of(text), **words}
    return max(counts, key=lambda name: counts[name]) if any(counts.values()) else None


def plain_text(text: str) -> str:
    """A text without case, spaces and punctuation, to find nearly equal ones."""
    return "".join(_PLAIN.findall(normalise_text(text).casefold()))


def _shares(counts: Counter[str]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: round(counts[name] / total, 4) if total else 0.0 for name in (*SCRIPTS, OTHER_SCRIPT)}


def _lengths(counts: Sequence[int]) -> dict[str, int]:
    ordered = sorted(counts)
    return {"median": ordered[(len(ordered) - 1) // 2], "p95": fitting_length(ordered), "max": ordered[-1]}


def _duplicates(records: Iterable[Record]) -> Iterable[Finding]:
    pairs: dict[tuple[str, str], int] = {}
    sources: dict[str, int] = {}
    for record in records:
        source, target = record.source.strip(), record.target.strip()
        if (source, target) in pairs:
            first = pairs[source, target]
            yield Finding("duplicate", record.line, f"same source and target as line {first}")
        elif source in sources:
            yield Finding("same_source", record.line, f"same source as line {sources[source]} with another target")
        pairs.setdefault((source, target), record.line)
        sources.setdefault(source, record.line)


def _empty_fields(records: Iterable[Record], fields: TaskFields) -> Iterable[Finding]:
    names = [name for group in (fields.sources, fields.targets) if len(group) > 1 for name in group]
    for record in records:
        for name in names:
            value = lookup(record.row, name)
            parts = value if isinstance(value, list) else [value]
            if value is not MISSING and not any(str(part).strip() for part in parts):
                yield Finding("empty_field", record.line, f"field {name!r} is empty")


def _other_scripts(records: Sequence[Record]) -> Iterable[Finding]:
    main = [main_script(record.target) for record in records]
    usual = Counter(name for name in main if name is not None).most_common(1)
    others = [place for place, name in enumerate(main) if usual and name not in (None, usual[0][0])]
    if len(others) / len(records) >= FEW:
        return
    for place in others:
        text = f"the target is mostly in {main[place]} script, most targets in {usual[0][0]}"
        yield Finding("script", records[place].line, text)


def _leaks(file: str, records: Sequence[Record], earlier: dict[str, Sequence[Record]]) -> Iterable[Finding]:
    """Sources that also occur in an earlier file, exactly or nearly."""
    exact = {one.source.strip(): (name, one) for name, those in earlier.items() for one in those}
    nearly = {plain_text(one.source): (name, one) for name, those in earlier.items() for one in those}
    for record in records:
        if found := exact.get(record.source.strip()):
            name, other = found
            both = "source and target" if other.target.strip() == record.target.strip() else "source"
            yield Finding(LEAKS[0], record.line, f"same {both} as {name}:{other.line}")
        elif found := nearly.get(plain_text(record.source)):
            name, other = found
            text = f"same source as {name}:{other.line} but for case, spaces and punctuation"
            yield Finding(LEAKS[1], record.line, text)


def check_files(
    paths: Sequence[Path],
    fields: TaskFields,
    *,
    count_tokens: Callable[[list[str]], list[int]] | None = None,
    choose_limits: Callable[[list[Record]], dict[str, int]] | None = None,
    prefix: str = "",
) -> list[CheckedFile]:
    """Checks files that are trained and evaluated on together.

    Args:
        paths (`Sequence[Path]`): files of records or data sets of the Hub, one for each split.
        fields (`TaskFields`): as for training; if they are found in the rows of the first file, they hold for all.
        count_tokens (*optional*): number of tokens of each text; without it, lengths are in characters.
        choose_limits (*optional*): default limit of each side for the records of the first file.
        prefix (`str`): put before each source.

    Raises:
        ValueError: a file that cannot be read, or has no usable row.
    """
    checked: list[CheckedFile] = []
    earlier: dict[str, Sequence[Record]] = {}
    limits: dict[str, int] = {}
    for path in paths:
        file = str(path)
        records, report = read_records(path, fields, "drop", need_id=False)
        fields = report.fields
        if choose_limits is not None and not limits:
            limits = choose_limits(records)
        one = CheckedFile(file, report.rows_read, report.rows_kept, fields, report.remark)
        one.unit = "characters" if count_tokens is None else "tokens"
        texts = {side: [getattr(record, side) for record in records] for side in SIDES}
        texts["source"] = [prefix + text for text in texts["source"]]
        scripts = {side: [script_of(text) for text in texts[side]] for side in SIDES}
        for side in SIDES:
            counts = count_tokens(texts[side]) if count_tokens else [len(text) for text in texts[side]]
            one.lengths[side] = _lengths(counts)
            one.scripts[side] = _shares(sum(scripts[side], Counter()))
            if side in limits:
                truncated = sum(count > limits[side] for count in counts)
                one.cuts[side] = {"limit": limits[side], "truncated": truncated}
        one.findings = [_of_defect(defect) for defect in report.details]
        one.findings += _empty_fields(records, fields)
        one.findings += _duplicates(records)
        one.findings += _other_scripts(records)
        one.findings += _leaks(file, records, earlier)
        earlier[file] = records
        checked.append(one)
    return checked


def _of_defect(defect: Defect) -> Finding:
    return Finding(defect.kind, defect.line, defect.text)
