"""The two candidates, one process each: the stock Seq2SeqTrainer with the reference settings, and preset `fast`.

Notable:
- Published weights and vocabulary are not needed: the model has the published shape and random weights; the vocabulary
  is trained on the given texts and filled up to the published size with unused pieces.
- Both run the steps of the Trainer's loop: forward and backward of each micro-batch, gradient clipping, optimizer.
- A candidate receives commands over standard input, so the two can alternate, each with its own memory.

Run as `python -m benchmarks.mt5_rivals FOLDER reference|ours SETTINGS`, only by the benchmarks.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import islice, product
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    DataCollatorForSeq2Seq,
    MT5Config,
    MT5ForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)
from transformers.utils import logging

from mt5_ft.data.preprocessing import tokenize_records
from mt5_ft.models.from_scratch import train_tokenizer
from mt5_ft.models.kept_pieces import backend_of, choose_pieces
from mt5_ft.models.linear_cross_entropy import IGNORED
from mt5_ft.models.loading import load_model, load_tokenizer, untie
from mt5_ft.runs.data import read_splits
from mt5_ft.runs.probe import PeakMemory
from mt5_ft.runs.run import build_trainer, prepare
from mt5_ft.runs.start import resolve_model
from mt5_ft.training.arguments import MT5Arguments, MT5DataArguments, MT5ModelArguments
from mt5_ft.training.presets import PRESETS
from mt5_ft.training.trainer import MT5Trainer

PIECES, ROWS = 250_100, 250_112  # as published
TRAINED_PIECES = 4000
FILLING = "ru"  # language of the pieces that no text uses
SHAPES: dict[str, dict[str, int]] = {
    "mt5-small": {},  # the defaults of MT5Config
    "mt5-base": {"d_model": 768, "d_ff": 2048, "num_layers": 12, "num_decoder_layers": 12, "num_heads": 12},
    "tiny": {"d_model": 128, "d_kv": 32, "d_ff": 256, "num_layers": 3, "num_decoder_layers": 3, "num_heads": 4},
}
LENGTHS = {"max_source_length": 256, "max_target_length": 256}
ANSWER = "@answer "  # before what a rival says; the rest of its output is for people


def filled_up(tokenizer: PreTrainedTokenizerBase, pieces: int) -> PreTrainedTokenizerBase:
    """Adds Cyrillic pieces with the lowest score up to a total number of pieces."""
    backend = backend_of(tokenizer)
    vocabulary = backend["model"]["vocab"]
    before, lowest = len(vocabulary), min(score for _, score in vocabulary)
    missing = pieces - len(tokenizer)
    letters = ("".join(word) for word in product("абвгдежзийклмнопрстуфхцч", repeat=4))
    vocabulary += [[word, lowest] for word in islice(letters, missing)]
    for token in backend["added_tokens"]:
        token["id"] += missing if token["id"] >= before else 0
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer.from_str(json.dumps(backend, ensure_ascii=False)),
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        additional_special_tokens=[token for token in tokenizer.all_special_tokens if "extra_id" in token],
    )


def write_full_model(
    folder: Path, texts: Iterable[str], shape: str, pieces: int, seed: int = 0
) -> PreTrainedTokenizerBase:
    """Writes a model with random weights and a full vocabulary, in the published format; returns its tokenizer."""
    tokenizer = filled_up(train_tokenizer(texts, TRAINED_PIECES), pieces)
    torch.manual_seed(seed)
    rows = -(-pieces // 64) * 64
    model = untie(MT5ForConditionalGeneration(MT5Config(vocab_size=rows, decoder_start_token_id=0, **SHAPES[shape])))
    with torch.no_grad():  # unscaled, the first losses are of 60 nats
        model.lm_head.weight.mul_(model.config.d_model**-0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


def extra_pieces(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], kept: int) -> int:
    """Number of unused pieces to keep for `kept` pieces in total."""
    return max(0, kept - len(choose_pieces(tokenizer, texts, [FILLING], 0)))


def make_trainer(folder: Path, name: str, settings: dict) -> Seq2SeqTrainer:
    """The trainer of a candidate, on the records of `settings["data"]`."""
    logging.set_verbosity_error()
    data = MT5DataArguments(**{**LENGTHS, **settings["data"]}, token_cache="none")
    preset = PRESETS["original" if name == "reference" else "fast"] | settings.get("arguments", {})
    common = {"output_dir": str(folder / f"run-{name}"), "seed": settings.get("seed", 0), "eval_strategy": "no"}
    common |= {"save_strategy": "no", "report_to": "none", "disable_tqdm": True, "use_cpu": True}
    splits = read_splits(data, 0)
    if name == "reference":
        tokenizer, model = load_tokenizer(str(folder)), load_model(str(folder))
        train, validation = (tokenize_records(records, tokenizer, cache="none")[0] for records in splits)
        wanted = ["input_ids", "attention_mask", "labels"]
        names = set(Seq2SeqTrainingArguments.__dataclass_fields__) - {"eval_steps", "save_steps"}
        args = Seq2SeqTrainingArguments(**{k: v for k, v in preset.items() if k in names}, **common)
        collator = DataCollatorForSeq2Seq(tokenizer, model=model)
        return Seq2SeqTrainer(
            model=model,
            args=args,
            train_dataset=train.select_columns(wanted),
            eval_dataset=validation.select_columns(wanted),
            data_collator=collator,
            processing_class=tokenizer,
        )
    model_settings = MT5ModelArguments(
        model=str(folder), trim_vocab=True, trim_languages=settings["languages"], trim_extra=settings["extra"]
    )
    names = set(MT5Arguments.__dataclass_fields__)
    values = {k: v for k, v in preset.items() if k in names} | common
    args = MT5Arguments(**values, load_best_model_at_end=False, generation_max_length=data.max_target_length)
    return build_trainer(prepare(resolve_model(model_settings, args), data, args, splits), data, args)


class Rival:
    """A trainer that makes optimizer steps on command.

    Args:
        trainer: from [`make_trainer`].
        full: the tokenizer of the full vocabulary.
    """

    def __init__(self, trainer: Seq2SeqTrainer, full: PreTrainedTokenizerBase):
        self.trainer = trainer
        self.model: PreTrainedModel = trainer.model
        mine = trainer.processing_class
        names = mine.convert_ids_to_tokens(range(len(mine)))
        self.kept = full.convert_tokens_to_ids(names)  # ids of the full vocabulary
        self.is_ours = isinstance(trainer, MT5Trainer)
        trainer.create_optimizer()
        trainer.optimizer = trainer.accelerator.prepare(trainer.optimizer)
        trainer.accelerator.gradient_state._set_sync_gradients(True)
        self.epoch: list[list] = []
        self._memory: PeakMemory | None = None

    def step(self, batches: list) -> dict:
        """One optimizer step; returns seconds and the number of real target tokens."""
        trainer = self.trainer
        if self._memory is None:
            self._memory = PeakMemory(torch.device("cpu")).__enter__()
        micro = [part for batch in batches for part in (batch if isinstance(batch, list) else [batch])]
        counted = sum(int((batch["labels"] != IGNORED).sum()) for batch in micro)
        trainer.current_gradient_accumulation_steps = len(batches)
        started = time.perf_counter()
        found, tokens = trainer.get_batch_samples(iter(batches), len(batches), trainer.args.device)
        for batch in found:
            loss = trainer.training_step(self.model, batch, tokens)
        norm = trainer._clip_grad_norm(self.model) if trainer.args.max_grad_norm > 0 else None
        trainer._get_grad_norm(self.model, grad_norm=norm)
        trainer.optimizer.step()
        self.model.zero_grad()
        return {"seconds": time.perf_counter() - started, "counted": counted, "loss": float(loss)}

    def load_epoch(self) -> dict:
        """Plans the steps of an epoch; returns their number."""
        batches = list(self.trainer.get_train_dataloader())
        each = self.trainer.args.gradient_accumulation_steps
        self.epoch = [batches[first : first + each] for first in range(0, len(batches), each)]
        return {"steps": len(self.epoch), "pieces": len(self.kept), "records": len(self.trainer.train_dataset)}

    def made_batch(self, length: int, share: float, rows: int, pieces: list[int]) -> dict[str, Tensor]:
        """A batch of random pieces (ids of the full vocabulary), with a share of `share` real labels."""
        random = torch.Generator().manual_seed(0)
        places = {number: place for place, number in enumerate(self.kept)}
        mine = torch.tensor([places[number] for number in pieces])
        source, target = (mine[torch.randint(len(mine), (rows, length), generator=random)] for _ in range(2))
        real = torch.arange(length) < round(share * length)
        labels = torch.where(real, target, IGNORED)
        batch = {"input_ids": source, "attention_mask": torch.ones_like(source), "labels": labels}
        return batch | {"decoder_input_ids": self.model.prepare_decoder_input_ids_from_labels(labels)}

    @torch.no_grad()
    def loss_on(self, batch: dict[str, Tensor], pieces: list[int]) -> float:
        """Mean cross-entropy over the given pieces, without dropout."""
        self.model.eval()
        given = {name: value for name, value in batch.items() if name not in ("labels", "row")}
        counted = batch["labels"] != IGNORED
        logits = self.model(**given).logits[counted].float()
        places = {number: place for place, number in enumerate(self.kept)}
        chosen = torch.tensor([places[number] for number in pieces])
        of_pieces = logits[:, chosen]
        targets = torch.searchsorted(chosen, batch["labels"][counted])
        self.model.train()
        return float(F.cross_entropy(of_pieces, targets))

    def validation(self, pieces: list[int]) -> dict:
        """Mean validation loss per token over the given pieces."""
        total, count = 0.0, 0
        for batch in self.trainer.get_eval_dataloader():
            tokens = int((batch["labels"] != IGNORED).sum())
            total, count = total + tokens * self.loss_on(batch, pieces), count + tokens
        return {"loss": total / count, "tokens": count}

    def own_loss(self, batch: dict[str, Tensor]) -> float:
        """Our trainer's loss of a batch, with the chunked output layer."""
        self.model.eval()
        with torch.no_grad():
            sums, _ = self.trainer._token_sums(self.model, batch)
        self.model.train()
        return float(sums.total / sums.tokens.sum())

    def sizes(self) -> dict:
        """Peak memory of the steps so far, and bytes of a checkpoint: weights and optimizer state."""
        self._memory.__exit__()
        tensors = {id(p): p for p in self.model.parameters()}
        state = self.trainer.optimizer.state_dict()["state"].values()
        checkpoint = sum(p.numel() * p.element_size() for p in tensors.values())
        checkpoint += sum(v.numel() * v.element_size() for each in state for v in each.values() if torch.is_tensor(v))
        return {
            "memory": self._memory.bytes,
            "checkpoint": checkpoint,
            "precision": getattr(self.trainer.args, "precision", "fp32"),
        }


def _serve(folder: Path, name: str, settings: dict) -> None:
    started = time.perf_counter()
    rival = Rival(make_trainer(folder, name, settings), load_tokenizer(str(folder)))
    batches: dict[str, dict] = {}
    print(ANSWER + json.dumps({"seconds": time.perf_counter() - started}), flush=True)
    for line in sys.stdin:
        words = json.loads(line)
        work = words.pop("work")
        if work == "make":
            name = words.pop("batch")
            batches[name] = rival.made_batch(**words)
            answer = {}
        elif work == "step":
            answer = rival.step([batches[words["batch"]]] if "batch" in words else rival.epoch[words["number"]])
        elif work == "loss":
            batch = batches[words["batch"]]
            answer = {"loss": rival.loss_on(batch, words["pieces"])}
            if rival.is_ours:
                answer["own"] = rival.own_loss(batch)
        elif work == "kept":
            answer = {"pieces": rival.kept}
        elif work == "validate":
            answer = rival.validation(words["pieces"])
        else:
            answer = {"epoch": rival.load_epoch, "sizes": rival.sizes}[work]()
        print(ANSWER + json.dumps(answer), flush=True)


class Process:
    """A candidate in its own process; a context manager.

    Args:
        folder: the full model.
        name: `reference` or `ours`.
        settings: what [`make_trainer`] reads.
    """

    def __init__(self, folder: Path, name: str, settings: dict):
        words = [sys.executable, "-m", "benchmarks.mt5_rivals", str(folder), name, json.dumps(settings)]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
        )
        self.start_seconds = self._answer()["seconds"]

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict:
        for line in self.process.stdout:
            if line.startswith(ANSWER):
                return json.loads(line[len(ANSWER) :])
        raise RuntimeError("a rival ended early; its errors are above")

    def ask(self, work: str, **words: object) -> dict:
        """Sends a command and returns the answer."""
        self.process.stdin.write(json.dumps({"work": work, **words}) + "\n")
        self.process.stdin.flush()
        return self._answer()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
