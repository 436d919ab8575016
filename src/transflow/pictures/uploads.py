"""Pictures that are no paths: bytes, open files, and what web frameworks make of an upload, as the files that they are.

Anything with ``read`` is taken: `io.BytesIO`, a file opened in binary, `tempfile.SpooledTemporaryFile`, the uploads of
Starlette, FastAPI, Flask, Django and Gradio. It is read from its beginning, and left where it was.
"""

from __future__ import annotations

import inspect
import io
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from transflow.pictures.files import File


@runtime_checkable
class Readable(Protocol):
    """An open file."""

    def read(self, size: int = ..., /) -> Any:
        """Return its bytes."""


def is_upload(value: Any) -> bool:
    """Return whether something is bytes, or an open file."""
    return isinstance(value, (bytes, bytearray, memoryview, Readable))


def as_file(value: Any) -> File:
    """Return bytes, or an open file, as a file to read.

    Raises:
        TypeError: it is open for text, or can only be awaited.
        OSError: it is closed, or cannot be read.
    """
    if not isinstance(value, Readable):
        return File("bytes", "bytes", content=bytes(value))
    name = next((n for key in ("filename", "name") if isinstance(n := getattr(value, key, None), str) and n), "upload")
    name = Path(name).name or "upload"
    source = value
    if inspect.iscoroutinefunction(value.read):  # of Starlette, which has the file itself beside it
        source = getattr(value, "file", value)
    if inspect.iscoroutinefunction(source.read):
        raise TypeError(f"Expected bytes or an open file; got one that is awaited: {name}. Give await upload.read().")
    try:
        content = _from_the_beginning(source)
    except (OSError, ValueError) as error:
        raise OSError(f"Expected an open file that can be read; got one that cannot ({error}): {name}") from None
    if not isinstance(content, bytes):
        raise TypeError(f'Expected a file open in binary; got one of text: {name}. Open it with mode "rb".')
    return File(name, name, content=content)


def _from_the_beginning(source: Any) -> Any:
    at = None
    with suppress(OSError, AttributeError, io.UnsupportedOperation):  # a pipe
        at = source.tell()
        source.seek(0)
    content = source.read()
    if at is not None:
        source.seek(at)
    return content
