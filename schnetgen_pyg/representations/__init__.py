"""Networks that turn atoms and their edges into features, one paper per file."""

from .schnet import SchNet

__all__ = ["SchNet"]
