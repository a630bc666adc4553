"""Contracts: what parts of one's own must keep to, as functions that raise an AssertionError.

Call them in a test of yours; the package's own parts are tested by the same.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "condition": ["check_condition"],
        "decision": ["check_decision"],
        "graph_encoder": ["check_graph_encoder"],
        "judge": ["check_judge"],
        "reader": ["check_reader"],
        "representation": ["check_representation"],
        "target": ["check_target"],
    },
)
