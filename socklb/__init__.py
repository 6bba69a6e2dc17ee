"""socklb: Services are resolved at connect(), not on the packet."""

from importlib.metadata import version

__version__ = version("socklb")
