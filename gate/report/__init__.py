"""The report: one HTML file that needs nothing else, on a screen, a phone or paper."""
