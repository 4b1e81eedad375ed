"""Compares the named recipes of tokenizer and predictor; `benchmarks.mt5_recipes` those of mT5.

    python -m benchmarks.recipes kronos [--market sample FILE ...]   see `benchmarks.kronos_recipes`
    python -m benchmarks.recipes merge OTHER.json [...]              adds the runs of other results files
    python -m benchmarks.recipes page                                writes tables and picture of docs/recipes.md

Runs that are already in the results are not repeated. All values come from the run records; the test split is not used
for selection.
"""

import sys

from benchmarks.kronos_recipe_tables import sections
from benchmarks.recipe_picture import draw
from benchmarks.recipe_tables import write_page


def main() -> int:
    """Writes the page, or calls `benchmarks.kronos_recipes`."""
    from benchmarks.kronos_recipes import RESULT, load, main as kronos_main

    if sys.argv[1:2] != ["page"]:
        return kronos_main(sys.argv[1:])
    found = load(RESULT)["runs"]
    write_page(sections(found))
    draw(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
