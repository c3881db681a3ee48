"""Which workers exist: start, share, show, end them, and say what happened to one that failed.

``states`` decides (pure), ``diagnosis`` turns what is known of a failure into advice (pure), ``fleet`` acts.
"""
