"""The evaluations: one file each, which says what rows it needs and how rows become scores."""
