"""Over there, inside the user's interpreter: a real ipykernel whose cells and outputs go straight over the link.

``app`` the kernel, ``door`` the connections, ``cells`` what happens around one cell, ``files`` what a cell wrote.
Depends on ``parcels`` alone, because it lives in the user's environment, whatever that is.
"""
