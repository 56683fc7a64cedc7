"""The report for people: one HTML file."""

from storm_core.report.html.page import html_report

__all__ = ["html_report"]
