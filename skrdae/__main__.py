"""``python -m skrdae``."""

import sys

from skrdae.cli import main

if __name__ == "__main__":
    sys.exit(main())
