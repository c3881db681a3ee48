from testbeds.fixtures import cloud, host_maker, network

__all__ = ["cloud", "host_maker", "network"]
