"""The one door to what makes things fast; behind it plain torch and PyG are always there, too.

``with disabled("pair_convolution"):`` does without; ``benchmarks/accelerated.py`` says what each of
`TRICKS` brings.
"""

from schnetgen_pyg.accelerated.chunks import per_chunk
from schnetgen_pyg.accelerated.switches import TRICKS, disabled, enabled

__all__ = ["TRICKS", "disabled", "enabled", "per_chunk"]
