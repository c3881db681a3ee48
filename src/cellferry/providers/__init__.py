"""Get a machine and give it back: ``base`` is the seam, ``registry`` finds who serves it, one file each provider."""
