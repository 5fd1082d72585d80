"""Measurements: requests turned into rows, block by block."""
