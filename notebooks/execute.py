"""Execute the notebooks in place, with what they show and without what a machine says of itself.

python notebooks/execute.py [FILE …]
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

#: Bytes of a picture at most: a repository keeps every version.
LARGEST = 200_000


def kept(outputs: list) -> list:
    """Outputs without what holds paths and times: warnings (stderr) and progress bars; what was
    printed in several pieces is one."""
    result: list = []
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        if result and output.get("name") == "stdout" == result[-1].get("name"):
            result[-1]["text"] += output["text"]
        else:
            result.append(output)
    for output in result:
        lines = output.get("text", "").split("\n")
        printed = [line for line in lines if "\r" not in line and "\x1b[A" not in line]
        if len(printed) < len(lines):  # a bar has drawn over itself
            output["text"] = "".join(f"{line}\n" for line in printed if line.strip())
    return [output for output in result if output.get("text") != ""]


def execute(path: Path) -> None:
    """Run one notebook and write it with its output."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, resources={"metadata": {"path": path.parent}}, record_timing=False
    )
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cell.outputs = kept(cell.outputs)
        for output in cell.outputs:
            picture = base64.b64decode(output.get("data", {}).get("image/png", ""))
            if len(picture) > LARGEST:
                sys.exit(f"{path}: a picture has {len(picture):,} bytes; draw it smaller")
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)
    print(f"executed {path}")


if __name__ == "__main__":
    here = Path(__file__).parent
    for file in sys.argv[1:] or sorted(here.glob("*.ipynb")):
        execute(Path(file))
