"""`kronos-ft convert-config`: settings of the published fine-tuning scripts as a YAML file of ours.

A config.py is parsed, never run: only assignments `self.name = value` of plain values are read.
"""

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

from ft_core.cli.options import ExactParser

from .published_names import BY_NAME, SECTIONS, names_of

MOST_BYTES = 2**20
SUFFIXES = (".yaml", ".yml", ".py")
ALWAYS_DONE = ("train_tokenizer", "train_basemodel")  # by kronos-ft finetune; only false has no counterpart


def read_config_py(path: Path) -> tuple[dict[str, object], list[str]]:
    """The plain values that a config.py assigns to `self.name`, and the names of the values that are expressions.

    Raises:
        ValueError: unreadable, too large, or not Python.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{path} has more than {MOST_BYTES:,} bytes; pass the config.py of the published scripts")
        tree = ast.parse(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); pass a YAML file or a config.py") from error
    except (SyntaxError, UnicodeDecodeError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else type(error).__name__
        raise ValueError(f"{path} is not valid Python ({reason}); pass a YAML file or a config.py") from error
    found: dict[str, object] = {}
    expressions = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
                try:
                    value = ast.literal_eval(node.value)
                    json.dumps(value)  # TypeError for bytes, sets and complex numbers, which no setting takes
                    found[target.attr] = value
                except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
                    expressions.append(target.attr)
    return found, expressions


def flatten(values: Mapping[str, object]) -> dict[str, object]:
    """The settings of the published YAML without its sections."""
    found: dict[str, object] = {}
    for name, value in values.items():
        found |= value if name in SECTIONS and isinstance(value, dict) else {name: value}
    return {str(name): value for name, value in found.items()}


def _shares(old: Mapping[str, object]) -> list[float]:
    train, validation = (float(old.get(name, default)) for name, default in (("train_ratio", 0.9), ("val_ratio", 0.1)))
    return [train, validation, round(max(1 - train - validation, 0.0), 6)]


def _day_after(times: object) -> str:
    return str(date.fromisoformat(str(list(times)[1])[:10]) + timedelta(days=1))


def _dates(old: Mapping[str, object]) -> list[str]:
    return [_day_after(old["train_time_range"]), _day_after(old["val_time_range"])]


def _folder(old: Mapping[str, object]) -> str | None:
    name = str(old.get("exp_name") or "")
    folder = str(old.get("base_save_path") or old.get("save_path") or "").replace("{exp_name}", name)
    return folder or (f"{str(old.get('base_path') or 'runs').rstrip('/')}/{name}" if name else None)


def _part_of_batch(old: Mapping[str, object]) -> int | None:
    parts, batch = int(old["accumulation_steps"]), int(old.get("batch_size") or 0)
    return max(batch // parts, 1) if parts > 1 and batch else None


# settings that follow from several, or with another value; None leaves ours out
COMBINED: dict[str, tuple[tuple[str, ...], Callable[[Mapping[str, object]], object]]] = {
    "split_ratios": (("train_ratio", "val_ratio", "test_ratio"), _shares),
    "split_dates": (("train_time_range", "val_time_range", "test_time_range"), _dates),
    "output_dir": (("base_save_path", "base_path", "exp_name", "save_path"), _folder),
    "tokenizer_gradient_accumulation_steps": (
        ("accumulation_steps",),
        lambda old: int(old["accumulation_steps"]) if int(old["accumulation_steps"]) > 1 else None,
    ),
    "tokenizer_per_device_train_batch_size": (("accumulation_steps",), _part_of_batch),
    "report_to": (("use_comet",), lambda old: "comet_ml" if old["use_comet"] else "none"),
    "use_cpu": (("use_cuda",), lambda old: True if old["use_cuda"] is False else None),
    "from_scratch": (("pre_trained",), lambda old: True if old["pre_trained"] is False else None),
    **{
        f"{stage}_from_scratch": (
            (f"pre_trained_{stage}",),
            lambda old, stage=stage: True if old[f"pre_trained_{stage}"] is False else None,
        )
        for stage in ("tokenizer", "predictor")
    },
}


def convert_settings(old: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """Settings of the published scripts as those of `kronos-ft finetune`, and a line for each without counterpart.

    Args:
        old: the settings by their published names, without sections.

    Raises:
        ValueError: a value of another type than the published scripts take, or no published name at all.
    """
    if not any(name in BY_NAME for name in old):
        raise ValueError("no setting has a name of the published scripts; pass their YAML file or config.py")
    known, new, lines = names_of("finetune"), {}, []
    used = set()
    for ours, (names, value_of) in COMBINED.items():
        given = [name for name in names if name in old]
        if not given or (ours == "split_dates" and not {*names[:2]} <= {*given}):
            continue
        used |= {*given}
        try:
            value = value_of(old)
        except (TypeError, ValueError, IndexError, KeyError) as error:
            wrong = ", ".join(f"{name}={old[name]!r:.60}" for name in given)
            raise ValueError(f"{wrong} cannot be converted to {ours}; correct the file") from error
        if value is not None:
            new[ours] = value
    for name, value in old.items():
        one = BY_NAME.get(name)
        ours = next((each for each in one.ours if each in known), None) if one else None
        is_unset = value is None or value in ("", [], {}) or value is (name in ALWAYS_DONE)
        if name in used or is_unset:
            continue
        if ours is None or ours in COMBINED:
            lines.append(f"{name}: not converted; {one.note if one else 'not a setting of the published scripts'}")
        else:
            new.setdefault(ours, value)
    return new, lines


def _parser() -> ExactParser:
    parser = ExactParser(
        prog="kronos-ft convert-config",
        description="Converts the settings of the published fine-tuning scripts (YAML file or config.py, which is not "
        "run) to a YAML file for kronos-ft finetune --config, and prints a line for each setting without counterpart.",
    )
    parser.add_argument("old", metavar="OLD", type=Path, help="YAML file or config.py of the published scripts")
    parser.add_argument("--output", metavar="NEW.yaml", type=Path, help="default: OLD-kronos-ft.yaml beside it")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    return parser


def run_convert_config(argv: Sequence[str]) -> int:
    """`kronos-ft convert-config OLD.yaml`: writes the settings as ours; prints those without counterpart.

    Raises:
        ValueError: a file that cannot be read or holds no published setting, or an output that exists.
    """
    options = _parser().parse_args(argv)
    old: Path = options.old
    if old.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{old} is no {', '.join(SUFFIXES)} file; pass the YAML file or config.py of the scripts")
    output: Path = options.output or old.with_name(f"{old.stem}-kronos-ft.yaml")
    if output.exists() and not options.overwrite:
        raise ValueError(f"output={output} exists; pass another name, or --overwrite")
    import yaml

    from ft_core.io.console import printable
    from ft_core.io.files import write_text
    from ft_core.io.formats import read_yaml

    expressions: list[str] = []
    if old.suffix.lower() == ".py":
        values, expressions = read_config_py(old)
    else:
        values = flatten(read_yaml(old, "config file")[0])
    try:
        new, lines = convert_settings(values)
    except ValueError as error:
        raise ValueError(f"{old}: {error}") from error
    for name in expressions:
        one = BY_NAME.get(name)
        more = f"; use {', '.join(one.ours)}" if one and one.ours else f"; {one.note}" if one else ""
        lines.append(f"{name}: not converted, since its value is an expression, not a plain value{more}")
    if "data" not in new:
        lines.append("data: not set; pass --data FILE, such as a CSV file of candles")
    output.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(new, sort_keys=False, allow_unicode=True, default_flow_style=None)
    write_text(output, f"# settings of kronos-ft finetune, converted from {printable(old.name)}\n{text}")
    for line in lines:
        print(printable(line))
    print(f"settings           {output}")
    return 0
