import json
from importlib.metadata import version

from schnetgen_pyg.storage.provenance import provenance, versions


def test_versions_of_what_is_installed():
    assert versions("torch", "no-such-package") == {"torch": version("torch")}


def test_provenance_is_plain():
    found = provenance()
    assert json.loads(json.dumps(found)) == found
    assert {"schnetgen_pyg", "torch", "python"} <= set(found["versions"])
    assert {"date", "machine", "device"} <= set(found)
