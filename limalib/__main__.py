"""`python -m limalib`: see `limalib.running.commands`."""

import sys

from limalib.running.commands import main

if __name__ == "__main__":
    sys.exit(main())
