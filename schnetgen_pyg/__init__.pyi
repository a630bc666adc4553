from .chem.molecules import to_rdkit as to_rdkit
from .data.datasets import load as load
from .errors import InputError as InputError
from .evaluation.evaluation import evaluate as evaluate
from .generator.model import SchNetGen as SchNetGen
from .generator.sampling.config import SamplingConfig as SamplingConfig
from .generator.sampling.conformers import conformers as conformers
from .generator.sampling.generate import generate as generate
from .generator.sampling.likelihood import log_prob as log_prob
from .potentials.calculator import PotentialCalculator as PotentialCalculator
from .potentials.model import Potential as Potential
from .relaxation.many import relax as relax
from .training.config import TrainingConfig as TrainingConfig
from .training.generator import fit as fit
from .training.potential import fit_potential as fit_potential

__version__: str
