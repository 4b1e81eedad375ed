"""`python -m kronos_ft` is the `kronos-ft` command."""

import sys

from .cli import main

sys.exit(main())
