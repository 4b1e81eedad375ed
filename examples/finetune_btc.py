"""Fine-tune Kronos on BTC candles: the tokenizer, then the predictor on its tokens.

    accelerate launch examples/finetune_btc.py [candles.csv] [--output_dir RUN] [--steps N]

The same as `kronos-ft demo`; the steps of it are numbered in kronos_ft/cli/demo.py, to copy from.
"""

import sys

from ft_core.cli.program import one_line_errors
from kronos_ft.cli.demo import demo_command

if __name__ == "__main__":
    sys.exit(one_line_errors("finetune_btc.py", lambda: demo_command(sys.argv[1:]), "run it again"))
