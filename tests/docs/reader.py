"""A reader of the documents: a folder with data of their own, a Hub with small models, and a shell."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.docs.markdown import ROOT, Page
from tests.pushable_hub import PushableHub

PUBLISHED = {
    "tokenizer": ("NeoQuasar/Kronos-Tokenizer-base", "NeoQuasar/Kronos-Tokenizer-2k"),
    "predictor": ("NeoQuasar/Kronos-mini", "NeoQuasar/Kronos-small", "NeoQuasar/Kronos-base"),
    "mt5": ("google/mt5-small", "google/mt5-base"),
}
# what makes a documented command short: settings that the reader may give too
_FEW_STEPS = ["--max_steps", "4"]
_SHORT_TEXTS = ["--max_steps", "2", "--max_source_length", "64", "--max_target_length", "24"]
SHORTER = {
    ("kronos-ft", "finetune"): _FEW_STEPS,
    ("kronos-ft", "tokenizer"): _FEW_STEPS,
    ("kronos-ft", "predictor"): _FEW_STEPS,
    ("kronos-ft", "evaluate"): ["--max_origins", "6", "--num_paths", "4"],
    ("kronos-ft", "forecast"): ["--num_paths", "4"],
    ("kronos-ft", "find-lr"): _FEW_STEPS,
    ("kronos-ft", "sweep"): [*_FEW_STEPS, "--trials", "2"],
    ("kronos-ft", "demo"): ["--steps", "4"],
    ("mt5-ft", "train"): _SHORT_TEXTS,
    ("mt5-ft", "plan"): _SHORT_TEXTS,
    ("mt5-ft", "find-lr"): _SHORT_TEXTS,
    ("mt5-ft", "sweep"): [*_SHORT_TEXTS, "--trials", "2"],
    ("mt5-ft", "demo"): ["--max_steps", "2"],
    ("mt5-ft", "summarize"): ["--max_length", "8"],
}
BARS = 4000


def shorter(words: list[str]) -> list[str]:
    """The words of a command with the settings that make it short at the end, where they count."""
    return [*words, *SHORTER.get(tuple(words[:2]), ())]


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def _small_models(folder: Path) -> dict[str, dict[str, bytes]]:
    """Files of a model of each kind, from random weights."""
    import torch

    from kronos_ft.models.configuration_kronos import KronosConfig, KronosTokenizerConfig
    from kronos_ft.models.modeling_kronos import Kronos, KronosTokenizer
    from mt5_ft.models.from_scratch import small_model, train_tokenizer

    torch.manual_seed(0)
    KronosTokenizer(KronosTokenizerConfig.from_size("tiny")).save_pretrained(folder / "tokenizer")
    Kronos(KronosConfig.from_size("tiny")).save_pretrained(folder / "predictor")
    lines = (ROOT / "mt5_ft/data/sample/emotion_summary.jsonl").read_text(encoding="utf-8").splitlines()
    tokenizer = train_tokenizer(lines, vocab_size=2500)
    tokenizer.save_pretrained(folder / "mt5")
    small_model(len(tokenizer)).save_pretrained(folder / "mt5")
    return {kind: _files(folder / kind) for kind in PUBLISHED}


class Reader:
    """Runs documented commands; a context manager. `environment` is what each of them sees."""

    def __init__(self, home: Path):
        self.home = home
        self.hub = PushableHub()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("KRONOS_FT", "HF_"))},
            # python and the commands are those of this environment, also where it is not activated
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "MPLBACKEND": "Agg",
            "HOME": str(home),
            "HF_HOME": str(home / "hf"),
            "HF_ENDPOINT": self.hub.url,
            "HF_TOKEN": "hf_NotARealTokenButLongEnough",
            "HF_HUB_DISABLE_XET": "1",
            "KRONOS_FT_CACHE": str(home / "cache"),
            "KRONOS_FT_SPEED": "exact",
            "TOKENIZERS_PARALLELISM": "false",
        }
        self.output = ""

    def __enter__(self):
        self.home.mkdir(exist_ok=True)
        self.hub.__enter__()
        for kind, files in _small_models(self.home / "models").items():
            for name in PUBLISHED[kind]:
                self.hub.create(name, files=files)
        command = [sys.executable, "-m", "tests.docs.zygote"]
        self.zygote = subprocess.Popen(
            command, cwd=ROOT, env=self.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.zygote.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_):
        self.zygote.stdin.close()
        self.zygote.wait(30)
        self.hub.__exit__()

    def desk(self, page: Page) -> Path:
        """A folder with the files that the documents speak of, and the runs that a page begins with."""
        from kronos_ft.data.sources import load_sample

        folder = Path(tempfile.mkdtemp(prefix=f"{page.path.stem}-", dir=self.home))
        frame = load_sample()[0].to_frame().tail(BARS)
        frame[["timestamps", "open", "high", "low", "close", "volume"]].to_csv(folder / "btc.csv", index=False)
        lines = (ROOT / "mt5_ft/data/sample/emotion_summary.jsonl").read_text(encoding="utf-8").splitlines()
        (folder / "cases.jsonl").write_text("\n".join(lines[:80]) + "\n", encoding="utf-8")
        (folder / "new.jsonl").write_text("\n".join(lines[80:84]) + "\n", encoding="utf-8")
        (folder / "examples").symlink_to(ROOT / "examples")
        for run in page.given:
            self._give(run, folder)
        return folder

    def _give(self, run: str, folder: Path) -> None:
        """Puts a finished run into a folder; it is trained once."""
        if not (self.home / run).exists():
            command = ["kronos-ft", "finetune", "--data", str(folder / "btc.csv"), "--model", "small"]
            if run == "runs/cases":
                command = ["mt5-ft", "train", "--data", str(folder / "cases.jsonl"), "--model", "google/mt5-small"]
            code = self.ask("run", self.home, words=shorter([*command, "--output_dir", run]))
            assert code == 0, f"{run} could not be prepared:\n{self.output}"
        shutil.copytree(self.home / run, folder / run)

    def ask(self, kind: str, folder: Path, environment: dict | None = None, **request: object) -> int:
        """Has the zygote do something; returns the exit code and keeps what was printed."""
        log = self.home / "output.txt"
        asked = {"kind": kind, "folder": str(folder), "log": str(log), "environment": environment or {}, **request}
        self.zygote.stdin.write(json.dumps(asked) + "\n")
        self.zygote.stdin.flush()
        code = int(self.zygote.stdout.readline())
        self.output = log.read_text(encoding="utf-8", errors="replace")
        return code

    def shell(self, line: str, folder: Path) -> int:
        """Runs a line by bash."""
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=folder, env=self.environment, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        self.output = done.stdout + done.stderr
        return done.returncode
