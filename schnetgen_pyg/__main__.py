"""``python -m schnetgen_pyg`` is the command ``schnetgen``."""

import sys

from schnetgen_pyg.cli import main

if __name__ == "__main__":
    sys.exit(main())
