"""Reading files of weights that strangers wrote: what they hold comes out as data, and nothing of theirs is run."""
