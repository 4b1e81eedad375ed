"""What `clean` removes, and what it never does."""

import json

from ft_core.checkpoints import list_checkpoints
from mt5_ft.cli import main


def test_clean_keeps_final_and_the_best(train, capsys):
    _, run = train("--save_total_limit", "3", "--max_steps", "6")
    best = json.loads((run / "run.json").read_text())["best_step"]
    capsys.readouterr()
    assert main(["clean", str(run)]) == 0
    assert "would remove" in capsys.readouterr().out
    assert len(list_checkpoints(run)) == 3
    assert main(["clean", str(run), "--yes"]) == 0
    assert list(list_checkpoints(run)) == [best]
    assert (run / "final" / "model.safetensors").is_file()
