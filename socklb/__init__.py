"""socklb: Services are resolved at connect(), not on the packet."""

__version__ = "0.1.0"
