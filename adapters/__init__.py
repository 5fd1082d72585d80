"""Adapters: one folder per generator family, and the data that ships."""
