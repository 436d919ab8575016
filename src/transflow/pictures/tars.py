"""Tars: listed member by member, plain ones without unpacking; a cut or damaged one is an error, not a smaller set."""

from __future__ import annotations

import io
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from transflow.pictures.files import BadPicture, File, is_litter
from transflow.pictures.limits import too_many_bytes


def has_tar_name(path: Path) -> bool:
    """Return whether a file's name is one of a tar."""
    return bool(re.search(r"\.(tar|tar\.[a-z0-9]+|tgz|tbz2?|txz)$", path.name.lower()))


class _Member(tarfile.TarInfo):
    """A member of a tar. A damaged or missing header is an error, where `tarfile` takes it for the end.

    One of zeros *is* the end, and what follows must be zeros too; so a tar whose rest is all zeros is taken for whole.
    """

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> _Member:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the end of a whole one
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


def is_tar(source: Path | File) -> bool:
    """Return whether a file is called a tar, or begins as one does; one that is in memory, whether it begins so."""
    path = None if isinstance(source, File) else source
    if path and has_tar_name(path):
        return True
    try:
        tarfile.open(path, fileobj=_in_memory(source)).close()
        return True
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError):
        return False


def members(source: Path | File) -> Iterator[File]:
    """List the files of a tar, on disk or in memory, in their order.

    Raises:
        BadPicture: the tar is damaged, or has a link among its files, or a file twice.
    """
    path = source.name if isinstance(source, File) else source
    content = _in_memory(source)
    try:
        with tarfile.open(None if content else path, fileobj=content, tarinfo=_Member) as tar:
            names: set[str] = set()
            compressed = not isinstance(tar.fileobj, io.BufferedReader)  # or in memory
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                if member.isdir() or member.isdev() or is_litter(Path(member.name).parts):
                    continue
                if member.name in names:
                    what = f"got {member.name} twice: {path}. Unpack the tar: the last one stays."
                    raise BadPicture(f"Expected each file once in a tar; {what}")
                names.add(member.name)
                if not member.isfile():
                    raise BadPicture(f"Expected files in a tar; got a link, {member.name}: {path}. Unpack the tar.")
                if (compressed or member.issparse()) and (problem := too_many_bytes(member.size, member.name)):
                    yield File(member.name, str(path), problem=problem)
                elif compressed or member.issparse():
                    file = tar.extractfile(member)
                    assert file is not None
                    yield File(member.name, str(path), content=file.read())
                else:
                    yield File(member.name, str(path), (member.offset_data, member.size))
            while tar.fileobj and (rest := tar.fileobj.read(2**16)):  # to the end, where a compressed one's checksum is
                if rest.strip(b"\0"):
                    raise tarfile.ReadError("more after its end")
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        raise BadPicture(f"Expected a whole tar; got a damaged one ({error}): {path}") from None


def _in_memory(source: Path | File) -> io.BytesIO | None:
    return io.BytesIO(source.content) if isinstance(source, File) and source.content is not None else None
