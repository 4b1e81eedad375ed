"""Fine-tune mT5 on emotion summaries, from the embedded fictional records or your JSONL file.

    python examples/train_emotion_summary.py [records.jsonl] [--source_fields text --target_fields summary]
    accelerate launch --config_file examples/accelerate/cpu_2.yaml examples/train_emotion_summary.py

The same as `mt5-ft demo`; the steps of it are numbered in mt5_ft/cli/demo.py, to copy from.
"""

import sys

from ft_core.cli.program import one_line_errors
from mt5_ft.cli.demo import demo_command

PROGRAM = "train_emotion_summary.py"

if __name__ == "__main__":
    sys.exit(one_line_errors(PROGRAM, lambda: demo_command(sys.argv[1:], PROGRAM), "run it again"))
