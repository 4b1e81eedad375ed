"""What is done with a documented command: it is run, or its words are parsed, or the page says why neither."""

import importlib.util
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.docs.markdown import ROOT, Block, Page, commands
from tests.docs.reader import Reader, shorter

OURS = {"kronos_ft": "kronos-ft", "mt5_ft": "mt5-ft"}
SHELL = ("ls", "cat", "head", "mkdir", "cp", "echo")
KINDS = ("run", "parsed", "not run")
ASSIGNMENT = re.compile(r"([A-Z][A-Z0-9_]*)=(\S*)$")


class Undocumented(AssertionError):
    """A command that fails, or that nothing is known of."""


def split(line: str) -> tuple[dict[str, str], list[str]]:
    """Variables set for a command, and its words."""
    words = shlex.split(line, comments=True)
    environment = {}
    while words and (match := ASSIGNMENT.match(words[0])):
        environment[match[1]] = match[2]
        words = words[1:]
    return environment, words


def launched(words: list[str]) -> list[str]:
    """The command that `accelerate launch` or `torchrun` starts; their own options and files are checked.

    Raises:
        Undocumented: a launcher file that does not exist.
        SystemExit: an option that the launcher does not have.
    """
    if words[:2] == ["accelerate", "launch"]:
        from accelerate.commands.config.config_args import load_config_from_file
        from accelerate.commands.launch import launch_command_parser

        options = launch_command_parser().parse_args(words[2:])
        if options.config_file:
            if not (ROOT / options.config_file).is_file():
                raise Undocumented(f"there is no {options.config_file}")
            load_config_from_file(str(ROOT / options.config_file))
        module, script, rest = options.module, options.training_script, options.training_script_args
    else:
        from torch.distributed.run import get_args_parser

        options = get_args_parser().parse_args(words[1:])
        module, script, rest = options.module, options.training_script, options.training_script_args
    return ["python", "-m", script, *rest] if module else ["python", script, *rest]


def check_words(reader: Reader, words: list[str], folder: Path) -> bool:
    """Whether a command that is not run could be checked: by its own parser, or make's.

    Raises:
        Undocumented: words that it would refuse.
    """
    if words[0] in ("accelerate", "torchrun"):
        words = launched(words)
    if words[0] == "python" and words[1:2] == ["-m"] and words[2] in OURS:
        words = [OURS[words[2]], *words[3:]]
    if words[0] in OURS.values():
        if reader.ask("parse", folder, words=words) != 0:
            raise Undocumented(f"{shlex.join(words)} is refused: {reader.output.strip()[-500:]}")
        return True
    if words[0] == "make":
        done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Undocumented(f"{shlex.join(words)}: {done.stderr.strip()}")
        return True
    if words[0] == "python" and words[1:2] == ["-m"]:
        if importlib.util.find_spec(words[2]) is None:
            raise Undocumented(f"there is no module {words[2]}")
        return words[2].split(".")[0] in ("benchmarks", "docs", "tests")
    if words[0] == "python" and words[1].endswith(".py"):
        if not (ROOT / words[1]).is_file():
            raise Undocumented(f"there is no {words[1]}")
        return True
    return False


def run_words(reader: Reader, line: str, folder: Path, expected: int) -> None:
    """Runs one command.

    Raises:
        Undocumented: it ends with another exit code, or is none that the test knows how to run.
    """
    environment, words = split(line)
    plain = not re.search(r"[|><;&]", line.split("#")[0])
    if words[0] in OURS.values() and plain:
        code = reader.ask("run", folder, environment, words=shorter(words))
    elif words[0] in (*SHELL, "python") or (words[0] in OURS.values() and not plain):
        code = reader.shell(line, folder)
    else:
        raise Undocumented(f"{words[0]} cannot be run here: say why in <!-- not run: ... --> before the block")
    if code != expected:
        raise Undocumented(f"{line}\nended with exit code {code}, not {expected}:\n{reader.output.strip()[-3000:]}")


def _command(reader: Reader, block: Block, line: str, folder: Path) -> str:
    reason = block.directives.get("not run")
    if reason is None and block.language == "bash":
        run_words(reader, line, folder, int(block.directives.get("exits", 0)))
        return "run"
    if reason is None:
        raise Undocumented(f"{line}: a block for Windows needs <!-- not run: ... --> before it")
    known = block.language == "bash" and check_words(reader, split(line)[1], folder)
    return "parsed" if known else "not run"


def _python(reader: Reader, page: Page, block: Block, folder: Path) -> str:
    if "not run" in block.directives:
        compile(block.text, page.name, "exec")
        return "not run"
    if reader.ask("python", folder, source=block.text, name=f"{page.name}:{block.line}") != 0:
        raise Undocumented(f"the Python block failed:\n{reader.output.strip()[-3000:]}")
    return "run"


def run_block(reader: Reader, page: Page, block: Block, folder: Path) -> Iterator[str]:
    """Does what a block says; one of `KINDS` for each command and each Python block, or what is wrong with it."""
    if "file" in block.directives:
        target = folder / block.directives["file"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.text, encoding="utf-8")
        return
    todo = [partial(_python, reader, page, block, folder)] if block.language == "python" else []
    if block.language in ("bash", "powershell"):
        todo = [partial(_command, reader, block, line, folder) for line in commands(block.text)]
    for do in todo:
        try:
            yield do()
        except Undocumented as failure:
            yield f"{page.name}:{block.line}: {failure}"
