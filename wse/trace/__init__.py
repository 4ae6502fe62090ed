"""Traces: what happened on which PE in which cycle, chosen while collecting (`selection`), read as records, written to files."""

from wse.trace.records import Trace
from wse.trace.selection import CATEGORIES, Selection

__all__ = ["CATEGORIES", "Selection", "Trace"]
