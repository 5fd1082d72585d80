"""The board: a database of results as a static site. Reads scores; imports no torch."""
