"""Measures bundles as a car would run them. Knows :mod:`edgeseg`'s vehicle half, never training or export."""
