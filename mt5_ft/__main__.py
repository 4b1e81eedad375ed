"""`python -m mt5_ft` is the `mt5-ft` command."""

import sys

from .cli import main

sys.exit(main())
