"""A shelf with the small model, and sessions in a folder of their own."""

import pytest
from PIL import Image

from transflow.app.sessions import Sessions
from transflow.app.shelf import Shelf


@pytest.fixture
def shelf(model_file):
    return Shelf((str(model_file),))


@pytest.fixture
def sessions():
    found = Sessions()
    yield found
    found.close()


@pytest.fixture
def session(sessions):
    return sessions.of("abc")


@pytest.fixture
def tiny(shelf, session):
    """The small model, under the name that the page gives it."""
    return shelf.model(session, "tiny.safetensors")


@pytest.fixture
def uploaded(sessions, pixels):
    """Write pictures as the framework does, and return their paths."""

    def write(count=12, size=(16, 16)):
        folder = sessions.served / "upload"
        folder.mkdir(exist_ok=True)
        paths = []
        for i in range(count):
            path = folder / f"{i:02d}.png"
            Image.fromarray(pixels[i % 12].permute(1, 2, 0).numpy()).resize(size).save(path)
            paths.append(str(path))
        return paths

    return write
