"""wse: a functional, cycle-counting emulator of a wafer-scale dataflow chip."""

__version__ = "0.1.0"
