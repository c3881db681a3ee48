"""``python -m cellferry.worker FOLDER``: run one worker in the private folder that its provider made."""

import sys

from cellferry.worker.launcher import main

main(sys.argv[1])
