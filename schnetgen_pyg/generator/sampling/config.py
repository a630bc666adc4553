"""How molecules are sampled."""

from __future__ import annotations

from dataclasses import dataclass

from schnetgen_pyg.errors import require


@dataclass(frozen=True)
class SamplingConfig:
    """How molecules are sampled; on a grid the defaults are the paper's.

    Attributes:
        temperature: T of softmax(logits / T) for positions; by default 0.01 on a grid (the
            paper's), and 0.04 around a focus.
        choice_temperature: T for types, valence states, focuses and numbers of hydrogens: at 1 the
            model's own probabilities.
        guidance: weight w with which targets that may be given or not (properties, a fingerprint)
            are exaggerated: every choice by log p + w (log p − log p₀), where p₀ is told nothing of
            them. 0 is the model as it was trained; above it molecules follow the targets more
            closely and differ less, and take twice as long.
        grid_extent: the grid reaches from −extent to +extent in Å (models without a focus).
        grid_spacing: in Å.
        shell_spacing: of the coarse candidates around a focus in Å; the fine ones are twelve times
            closer.
        valence_rules: place nothing that valences and the formula forbid, and distribute the
            hydrogens so that no electron stays unpaired (models with a focus). Without them an atom
            need not be bonded to its focus either: it lies up to 1.5 times as far from it as what
            counts as a bond.
        restarts: how often a scaffold is begun again at most, where the hydrogens that its atoms
            were to have cannot complete it (models that decide on valence states); by default 9
            times, and 49 times on a fragment, which leaves fewer ways.
        gibbs_rounds: rounds in which heavy atoms of a scaffold are placed once more, given all
            others (models with a focus): all of them in the first, in later ones the third that
            was the most surprising. Hydrogens of different atoms are then placed at once.
        max_surprise: a scaffold is begun anew, too, where after the Gibbs rounds the distances of
            an atom, given all others, are in the mean so many nats less probable than the most
            probable ones; 2 is more than any of 400 training scaffolds had for a model of C7H10O2.
            Lower values give fewer different molecules and take longer.
        refinement_steps: how often the atoms of finished molecules are all moved to where the
            model's refinement would have them, where it has one; 0 for molecules as they were
            drawn. With ``valence_rules`` a molecule whose bonds would change stays as it was.
        log_prob: whether molecules get their log-density in ``info["log_prob"]``, as `log_prob`
            gives it: the model's own, whatever the temperatures.
        batch_size: molecules built at once; by default 256 on a CPU and 8,192 on a GPU.
        jobs: processes; on GPUs one for each. By default as many as pay: one per core, but none
            for fewer than 256 molecules.
        max_elements: the most numbers in the filters that are kept of a batch; larger batches
            are built in parts. It does not change the molecules. By default 2²⁷, or a quarter of a
            GPU's memory.
    """

    temperature: float | None = None
    choice_temperature: float = 1.0
    guidance: float = 0.0
    grid_extent: float = 4.4
    grid_spacing: float = 0.2
    shell_spacing: float = 0.25
    valence_rules: bool = True
    restarts: int | None = None
    gibbs_rounds: int = 2
    max_surprise: float = 2.0
    refinement_steps: int = 3
    log_prob: bool = False
    batch_size: int | None = None
    jobs: int | None = None
    max_elements: int | None = None

    def __post_init__(self) -> None:
        hot = self.temperature is None or 0 < self.temperature < float("inf")
        require(hot, "temperature", self.temperature, "positive")
        require(self.max_surprise > 0, "max_surprise", self.max_surprise, "positive")
        for name in ("choice_temperature", "grid_extent", "grid_spacing", "shell_spacing"):
            value = getattr(self, name)
            require(0 < value < float("inf"), name, value, "positive")
        require(0 <= self.guidance < float("inf"), "guidance", self.guidance, "0 or more")
        require(self.shell_spacing <= 0.5, "shell_spacing", self.shell_spacing, "at most 0.5 Å")
        for name in ("restarts", "gibbs_rounds", "refinement_steps"):
            value = getattr(self, name)
            require(value is None or value >= 0, name, value, "0 or more")
        for name in ("batch_size", "jobs", "max_elements"):
            value = getattr(self, name)
            require(value is None or value >= 1, name, value, "at least 1")
