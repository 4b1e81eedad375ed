"""`python -m mt5_ft` is the `mt5-ft` command."""

import sys

from .cli.main import main

sys.exit(main())
