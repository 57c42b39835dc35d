"""`python -m zinv`."""

import sys

from zinv.cli import main

if __name__ == "__main__":
    sys.exit(main())
