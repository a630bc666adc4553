import pytest

from schnetgen_pyg import InputError, SchNetGen, TrainingConfig
from schnetgen_pyg.generator.presets import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_every_setting_belongs_to_the_model_or_its_training(name):
    """None is dropped: changing it changes one of the two."""
    import yaml

    settings = yaml.safe_load(PRESETS[name].read_text())
    model = SchNetGen.from_preset(name).config
    training = TrainingConfig.from_preset(name)
    for key, value in settings.items():
        homes = [
            home[key] for home in ({**vars(model), **model.settings}, vars(training)) if key in home
        ]
        assert len(homes) == 1, key
        assert homes[0] == (tuple(value) if isinstance(value, list) else value), key


def test_changes():
    model = SchNetGen.from_preset("small", elements=(1, 6), num_filters=8)
    assert model.config.elements == (1, 6)
    assert model.config.settings["num_filters"] == 8
    painn = SchNetGen.from_preset("focus", representation="painn", cutoff=5.0)
    assert painn.config.cutoff == 5.0
    assert "focus" in painn.config.decisions
    assert "num_gaussians" not in painn.config.settings
    assert SchNetGen.from_preset().config == SchNetGen.from_preset("focus").config
    assert TrainingConfig.from_preset("paper", steps=3).steps == 3


def test_refused():
    with pytest.raises(InputError, match=r"no preset is named 'focsu' \(did you mean 'focus'"):
        SchNetGen.from_preset("focsu")
    with pytest.raises(InputError, match=r"'num_filter' .did you mean 'num_filters'"):
        SchNetGen.from_preset("focus", num_filter=8)
