"""Every figure that the README states."""
