"""Why nothing moves: from the state of a machine in deadlock to a report, in the order waits, roots, report."""

from wse.hang.report import HangReport, Root, Wait, diagnose

__all__ = ["HangReport", "Root", "Wait", "diagnose"]
