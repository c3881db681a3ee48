from testbeds.fixtures import host_maker, network

__all__ = ["host_maker", "network"]
