"""The command `mt5-ft data check`."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from ft_core.cli.options import ExactParser
from ft_core.cli.program import nearest_or_all

USAGE = """\
mt5-ft data ACTION [OPTIONS]

  check      check records before a training: lengths, duplicates, empty fields, scripts, texts in two files

mt5-ft data ACTION --help lists the options of an action.

examples:
  mt5-ft data check cases.jsonl
  mt5-ft data check train.csv validation.csv --model google/mt5-base
  mt5-ft data check OWNER/NAME:train OWNER/NAME:validation --json
"""


def _check_parser() -> ExactParser:
    parser = ExactParser(
        prog="mt5-ft data check",
        description="Checks records and lists findings with file and line; exits 1 if training would reject them.",
    )
    parser.add_argument("source", nargs="+", help="one file of records or Hub data set for each split")
    parser.add_argument("--model", help="model folder or Hub name, to count tokens (default: characters)")
    parser.add_argument("--task", default="emotion_summary", help="task that names the fields")
    parser.add_argument("--source_fields", nargs="+", help="fields of the source")
    parser.add_argument("--target_fields", nargs="+", help="fields of the target")
    parser.add_argument("--policy", default="error", choices=["error", "drop"], help="as in training")
    parser.add_argument("--prefix", default="", help="text before each source, as in training")
    parser.add_argument("--json", action="store_true", help="print all findings as JSON")
    return parser


def run_check(argv: Sequence[str]) -> int:
    """`mt5-ft data check`: returns 1 if training would reject a file under the policy.

    Raises:
        ValueError: a file that cannot be read, fields that no row has, or a model without a tokenizer.
    """
    options = _check_parser().parse_args(argv)
    twice = next((name for name in options.source if options.source.count(name) > 1), None)
    if twice:
        raise ValueError(f"{twice} is given twice; pass each file once")
    from ..data.records import Record, named_fields
    from ..runs.check import check_files
    from ..runs.data import sample_path

    fields = named_fields(options.task, options.source_fields, options.target_fields)
    paths = [sample_path() if name == "sample" else Path(name) for name in options.source]
    counting: dict[str, Callable] = {}
    if options.model:
        from ft_core.hub.resolve import HubUnreachable

        from ..models.loading import load_tokenizer
        from ..runs.lengths import SIDES, choose_lengths
        from ..training.arguments import MT5DataArguments

        try:
            tokenizer = load_tokenizer(options.model)
        except HubUnreachable as error:
            raise HubUnreachable(f"{error}; or leave out --model to count characters instead of tokens") from None

        def limits_of(records: list[Record]) -> dict[str, int]:
            data, _ = choose_lengths(MT5DataArguments(prefix=options.prefix), records, tokenizer)
            return {side: getattr(data, f"max_{side}_length") for side in SIDES}

        counting["choose_limits"] = limits_of
        counting["count_tokens"] = lambda texts: [len(ids) for ids in tokenizer(texts)["input_ids"]]
    checked = check_files(paths, fields, prefix=options.prefix, **counting)
    accepted = all(one.passes(options.policy) for one in checked)
    if options.json:
        values = {"accepted": accepted, "files": [one.as_json(options.policy) for one in checked]}
        print(json.dumps(values, ensure_ascii=False, indent=2))
    else:
        print("\n".join(line for one in checked for line in one.lines(options.policy)))
    return 0 if accepted else 1


ACTIONS: dict[str, Callable[[Sequence[str]], int]] = {"check": run_check}


def run_data(argv: Sequence[str]) -> int:
    """`mt5-ft data ACTION`.

    Raises:
        ValueError: an unknown action, with the nearest one, or bad input to an action.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if argv else 2
    if argv[0] not in ACTIONS:
        raise ValueError(f"data {argv[0]!r} is not an action; {nearest_or_all(argv[0], ACTIONS)}")
    return ACTIONS[argv[0]](argv[1:])
