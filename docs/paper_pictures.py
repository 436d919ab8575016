"""Make the pictures of `paper.md`: ``python docs/paper_pictures.py``, which is ``transflow paper`` with stand-ins."""

from __future__ import annotations

import tempfile
from pathlib import Path

from transflow import paper
from transflow.store.files import write_bytes

HERE = Path(__file__).parent


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(paper(Path(folder, "out")).parent.iterdir()):
            if path.suffix in (".png", ".gif"):
                write_bytes(HERE / "paper" / path.name, path.read_bytes())


if __name__ == "__main__":
    main()
