"""Measurements of the book: its build, its pages, its training loop.

Nothing here is a test; results are ratios or sizes.
"""
