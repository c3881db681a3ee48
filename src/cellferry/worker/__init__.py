"""Over there: the worker's processes, its one door, its lease, and its HTTP routes.

``launcher`` the order in which a worker starts: read this first
``spawn``    starts one kernel process; all that is imported before the kernel runs
``keeper``   the outermost process: survives a crash of the server and ends what that left behind
``kernel``   watches the kernel process, notes how it ended, starts the next one
``acceptor`` the one listening socket: checks who connects, and hands each connection on
``lease``    when the worker ends itself: a pure decision, and the thread that acts on it
``core``     the worker as one object: what the routes show and do
``server``   Jupyter Server without a port; ``extension``, ``routes``, ``identity`` and ``provisioner`` belong to it
"""
