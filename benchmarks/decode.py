"""`wse bench decode`, from a checkout: python benchmarks/decode.py [MODEL… and its options]."""

import sys

from wse.cli import main

main(["bench", "decode", *(sys.argv[1:] or ["kjv"])])
