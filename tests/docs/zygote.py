"""Runs documented commands in processes that are forked from one that has imported everything.

`python -m tests.docs.zygote`: a line of JSON comes in, an exit code goes out. A request has `kind`, `folder`, `log` and
`environment`:
- `run`: `words` go to the command line that they name, as from a shell.
- `parse`: the same, but it ends with exit code 0 where its own parser has taken the words.
- `python`: `source` is run as a script whose training is cut to a few steps.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable

SECONDS = 600
STEPS = 4
OWN_PACKAGES = ("ft_core", "kronos_ft", "mt5_ft")


def _parsed(parse: Callable) -> Callable:
    def parse_and_end(*args, **kwargs):
        parse(*args, **kwargs)
        raise SystemExit(0)

    return parse_and_end


def _only_parse() -> None:
    import ft_core.cli.options
    import ft_core.cli.settings
    import kronos_ft.runs.both as finetune_run

    ft_core.cli.options.ExactParser.parse_args = _parsed(ft_core.cli.options.ExactParser.parse_args)
    own = [module for name, module in [*sys.modules.items()] if name.split(".")[0] in OWN_PACKAGES]
    for function in (ft_core.cli.settings.build_settings, finetune_run.parse_finetune):
        for module in own:  # those that have imported it too; parse_finetune builds the settings of several stages
            names = [name for name, value in vars(module).items() if value is function]
            for name in names if module is not finetune_run or function is finetune_run.parse_finetune else []:
                setattr(module, name, _parsed(function))


def _shorten_training() -> None:
    from transformers import TrainingArguments

    complete = TrainingArguments.__post_init__

    def shortened(self):
        if self.max_steps <= 0:
            self.max_steps = STEPS
        complete(self)

    TrainingArguments.__post_init__ = shortened


def _work(request: dict) -> int:
    from kronos_ft.cli.main import main as kronos_main
    from mt5_ft.cli.main import main as mt5_main

    if request["kind"] == "python":
        _shorten_training()
        exec(compile(request["source"], request["name"], "exec"), {"__name__": "__main__"})
        return 0
    if request["kind"] == "parse":
        _only_parse()
    program, *words = request["words"]
    return {"kronos-ft": kronos_main, "mt5-ft": mt5_main}[program](words)


def _child(request: dict) -> int:
    signal.alarm(SECONDS)
    os.setsid()
    os.chdir(request["folder"])
    sys.path.insert(0, request["folder"])
    os.environ.update(request["environment"])
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        code = _work(request)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")

    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(_child(json.loads(line)))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps(code), flush=True)


if __name__ == "__main__":
    main()
