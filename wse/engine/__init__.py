"""The `cycle` engine: `load_state` makes a machine's state from a program, `run` executes it (design section 2)."""

from wse.engine.load import load_state
from wse.engine.marks import mark_all
from wse.engine.run import run, wake_source

__all__ = ["load_state", "mark_all", "run", "wake_source"]
