"""A run as one page that anyone can read."""

from surpass.report.page import write_report

__all__ = ["write_report"]
