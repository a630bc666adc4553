"""Networks that turn atoms and their edges into features, one paper per file."""

from .schnet import SchNet

#: What a model may be built from, by name.
REPRESENTATIONS = {"schnet": SchNet}

__all__ = ["REPRESENTATIONS", "SchNet"]
