"""How benchmarks of properties train their potentials: all in the same way."""

from __future__ import annotations

import argparse
from typing import Any

from schnetgen_pyg.training.config import PotentialTrainingConfig


def add_training(parser: argparse.ArgumentParser, steps: int, learning_rate: float) -> None:
    """Options of trainings on this machine, with these defaults."""
    parser.add_argument("--steps", type=int, default=steps, help="of a potential's training")
    parser.add_argument("--batch_size", type=int, default=32, help="of a potential")
    parser.add_argument("--learning_rate", type=float, default=learning_rate, help="of a potential")
    parser.add_argument("--threads", type=int, default=1, help="of a training on a CPU")
    parser.add_argument("--accelerator", default="cpu", help="Lightning's name: cpu, gpu, …")
    parser.add_argument("--note", default="", help="what else the machine did meanwhile")


def annealed(
    options: argparse.Namespace, num_validation: int, seed: int, **changes: Any
) -> PotentialTrainingConfig:
    """Adam with warmup and a cosine, averaged weights, as the options of `add_training` say.

    Args:
        num_validation: structures that choose the weights.
        seed: of split, weights and batches.
        changes: values that replace those of the options: ``steps``, ``batch_size``.
    """
    names = ("steps", "batch_size", "learning_rate", "accelerator")
    chosen = {name: getattr(options, name) for name in names} | changes
    steps = chosen["steps"]
    return PotentialTrainingConfig(
        **chosen,
        schedule="cosine",
        warmup=min(500, steps // 10),
        gradient_clip=10.0,
        ema_decay=min(0.999, 1 - 10 / (steps + 10)),
        num_validation=num_validation,
        validation_interval=max(1, steps // 20),
        seed=seed,
    )
