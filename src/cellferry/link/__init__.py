"""Talk to one worker: who is at the other end (``identity``), requests (``http``), cells and values (``session``)."""
