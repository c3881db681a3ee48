"""The benchmarks: cellferry and its peers, in turn, in one process run. ``README.md`` says how to read them."""
