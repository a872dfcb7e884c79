"""``python -m benchmarl_reciprocator <command>``, where the console script is not on the path."""

import sys

from benchmarl_reciprocator.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
