"""Outcomes in; fitted rules, curves and tables out."""
