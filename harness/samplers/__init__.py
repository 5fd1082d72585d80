"""Samplers of codes: annealed importance sampling of ``log p(x)``, and bounds that say how far to believe it."""
