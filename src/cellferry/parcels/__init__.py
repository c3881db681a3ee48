"""Values <-> chunks, identity kept; both ends of a link use this room, so it depends on nothing of the rest.

``wire`` frames over a socket, ``tls`` its encrypted form, ``leaves`` memory that travels beside the pickle,
``pickler`` what travels how, ``kinds`` how each type of object changes, ``heap`` what both ends know, ``parcel``
the two verbs: pack and unpack.
"""
