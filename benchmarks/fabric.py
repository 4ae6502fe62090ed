"""`wse bench fabric`, from a checkout: python benchmarks/fabric.py [its options]."""

import sys

from wse.cli import main

main(["bench", "fabric", *sys.argv[1:]])
