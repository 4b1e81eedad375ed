"""The published fine-tuning loops of tokenizer and predictor, with the published model code, on given windows.

A step is forward, backward, gradient clipping, AdamW and the one-cycle schedule, as in the published scripts; each pass
ends with their validation loss, and the best model is saved. The predictor's tokens are made in each step, and the
coarse token that conditions the fine one is sampled. Windows come from this library and are ready before each step,
which the published data set does more slowly.

Scores are those of this library: reconstruction error, or the loss with the true coarse token. Their time does not
count.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import model as published
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.training_step import predictor_loss, published_predictor_loss, published_tokenizer_loss
from kronos_ft import Kronos, KronosTokenizer, WindowDataset

PASSES, BATCH, WARM_UP, DIVISOR, DECAY, BETAS = 30, 50, 0.03, 10, 0.1, (0.9, 0.95)
RATES = {"tokenizer": 2e-4, "predictor": 4e-5}
CLIPPING = {"tokenizer": 2.0, "predictor": 3.0}


def published_copy(ours: nn.Module) -> nn.Module:
    """The published model with the configuration and weights of ours."""
    kind = published.KronosTokenizer if isinstance(ours, KronosTokenizer) else published.Kronos
    theirs = kind(**{key: getattr(ours.config, key) for key in ours.config.published_keys()})
    theirs.load_state_dict(ours.state_dict())
    return theirs


class PublishedLoop:
    """Fine-tunes the published model of one stage.

    Args:
        start (`Path`): folder of the starting weights.
        tokenizer (`Path`, *optional*): folder of the tokenizer; without it, the stage is the tokenizer.
        train, validation ([`WindowDataset`]): windows.
        folder (`Path`): where the best model goes.
    """

    def __init__(
        self, start: Path, tokenizer: Path | None, train: WindowDataset, validation: WindowDataset, folder: Path
    ):
        self.stage = "tokenizer" if tokenizer is None else "predictor"
        self.ours = (Kronos if tokenizer else KronosTokenizer).from_pretrained(start).eval()
        self.model = published_copy(self.ours)
        self.codes = published_copy(KronosTokenizer.from_pretrained(tokenizer)).eval() if tokenizer else None
        self.train, self.validation, self.folder = train, validation, folder
        self.score_batches = [self._batch(validation, rows) for rows in self._parts(len(validation))]

    @staticmethod
    def _parts(count: int) -> Iterator[list[int]]:
        return (list(range(first, min(first + BATCH, count))) for first in range(0, count, BATCH))

    @torch.no_grad()
    def _batch(self, windows: WindowDataset, rows: list[int]) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        found = windows.__getitems__(rows)
        if self.codes is None:
            return found["target"]
        s1, s2 = self.codes.encode(found["target"], half=True)
        return s1, s2, found["stamps"]

    def _validate(self) -> float:
        """The published validation loss of a pass; random numbers of the training go on as before."""
        total = 0.0
        with torch.no_grad(), torch.random.fork_rng():
            for rows in self._parts(len(self.validation)):
                batch = self._batch(self.validation, rows)
                if self.codes is None:
                    total += float(F.mse_loss(self.model(batch)[0][1], batch)) * len(rows)
                else:
                    total += float(published_predictor_loss(self.model, batch)) * len(rows)
        return total / len(self.validation)

    @torch.no_grad()
    def score(self) -> float:
        """The validation score of this library, of the present weights."""
        self.ours.load_state_dict(self.model.state_dict())
        total = 0.0
        for batch in self.score_batches:
            if self.codes is None:
                total += float(F.mse_loss(self.ours(batch).reconstruction, batch)) * len(batch)
            else:
                total += float(predictor_loss(self.ours, batch)) * len(batch[0])
        return total / len(self.validation)

    def run(self, seed: int) -> dict[str, object]:
        """Trains all passes; returns the history, with processor seconds since the first step."""
        torch.manual_seed(seed)
        loss_of = published_tokenizer_loss if self.codes is None else published_predictor_loss
        parameters = list(self.model.parameters())
        optimizer = torch.optim.AdamW(parameters, lr=RATES[self.stage], betas=BETAS, weight_decay=DECAY)
        steps = len(self.train) // BATCH
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, RATES[self.stage], total_steps=PASSES * steps, pct_start=WARM_UP, div_factor=DIVISOR
        )
        history = [{"step": 0, "epoch": 0, "score": self.score(), "cpu": 0.0, "wall": 0.0}]
        best, cpu, wall = float("inf"), 0.0, 0.0
        for one in range(1, PASSES + 1):
            began = time.process_time(), time.perf_counter()
            self.model.train()
            for rows in torch.randperm(len(self.train))[: steps * BATCH].split(BATCH):
                loss = loss_of(self.model, self._batch(self.train, rows.tolist()))
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(parameters, max_norm=CLIPPING[self.stage])
                optimizer.step()
                schedule.step()
            self.model.eval()
            found = self._validate()
            if found < best:
                best = found
                self.model.save_pretrained(self.folder)
            cpu, wall = cpu + time.process_time() - began[0], wall + time.perf_counter() - began[1]
            seconds = {"cpu": round(cpu, 3), "wall": round(wall, 3)}
            history.append({"step": one * steps, "epoch": one, "score": self.score(), **seconds})
        return {"history": history, "steps": PASSES * steps, "epochs": PASSES, "cpu_run": round(cpu, 2)}
