"""Models on the Hugging Face hub, and in a folder cloned from it: ``hf://user/repo``.

    hf://user/repo                          its model.safetensors
    hf://user/repo/other.safetensors        another file
    hf://user/repo@v1.0                     of a branch, a tag or a commit

A file is downloaded once and kept in the hub's cache; with ``HF_HUB_OFFLINE=1`` the cache alone is asked. A repository
has one model file, and a README.md, its card, which begins with what the hub reads of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

PREFIX = "hf://"
FILE = "model.safetensors"
CARD = "README.md"
NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+?)(@(?P<revision>[\w./-]+?))?(/(?P<file>[\w./-]+\.safetensors))?")
REPO = re.compile(r"[\w.-]+/[\w.-]+")
EXTRA = "pip install 'transflow[hub]'"
LOCAL = "Download it elsewhere and give the file."


@dataclass(frozen=True)
class HubName:
    """A file on the hub.

    Attributes:
        repo: "user/repo".
        revision: branch, tag or commit; None for the main one.
        file: its path in the repository.
    """

    repo: str
    revision: str | None
    file: str

    @classmethod
    def parse(cls, name: str) -> HubName:
        """Return what ``hf://user/repo[@revision][/file.safetensors]`` names.

        Raises:
            ValueError: it is not of that form.

        >>> HubName.parse("hf://ann/faces@v2")
        HubName(repo='ann/faces', revision='v2', file='model.safetensors')
        """
        found = NAME.fullmatch(name.removeprefix(PREFIX))
        if not name.startswith(PREFIX) or found is None or ".." in name:
            raise ValueError(f"Expected hf://user/repo, perhaps @revision or /file.safetensors; got {name!r:.100}.")
        return cls(found["repo"], found["revision"], found["file"] or FILE)


def is_hub_name(name: object) -> bool:
    """Return whether a name is of the hub."""
    return str(name).startswith(PREFIX)


def download(name: str, *, known_only: bool = False) -> Path:
    """Return the local file of a name such as ``hf://user/repo``, downloaded where it is not in the cache.

    Args:
        name: see `HubName.parse`.
        known_only: look into the cache alone: what a file, not a person, asks for.

    Raises:
        FileNotFoundError: there is no such repository or file, or the hub cannot be reached and the cache has it not.
        ImportError: huggingface_hub is not installed.
    """
    wanted = HubName.parse(name)
    hub, errors = _hub()
    try:
        found = hub.hf_hub_download(
            wanted.repo, wanted.file, revision=wanted.revision, local_files_only=known_only, library_name="transflow"
        )
    except (*_failures(errors), errors.HFValidationError) as error:
        raise FileNotFoundError(f"Expected the model {name}; got {_why(error, errors, known_only)}. {LOCAL}") from None
    return Path(found)


def upload(repo: str, files: Mapping[str, bytes], *, private: bool | None, token: str | None, message: str) -> str:
    """Write files into a repository, made where there is none, as one commit; return its address.

    Args:
        repo: "user/repo".
        files: contents by path.
        private: of a new repository.
        token: of the hub; without it, the one that ``hf auth login`` keeps.
        message: of the commit.

    Raises:
        ValueError: the name is none, or the token.
        OSError: the hub refused it, or cannot be reached.
        ImportError: huggingface_hub is not installed.
    """
    if not isinstance(repo, str) or REPO.fullmatch(repo) is None or ".." in repo:
        raise ValueError(f"Expected user/repo to send to; got {repo!r:.100}.")
    if token is not None and not (token.isascii() and token.isprintable()):
        raise ValueError("Expected a token of the hub, such as hf_...; got one with other characters.")  # not shown
    hub, errors = _hub()
    operations = [hub.CommitOperationAdd(path, content) for path, content in files.items()]
    api = hub.HfApi(token=token, library_name="transflow")
    try:
        address = api.create_repo(repo, private=private, exist_ok=True)
        api.create_commit(repo, operations, commit_message=message)
    except errors.HFValidationError as error:
        raise ValueError(f"Expected user/repo to send to; got {_line(error)}") from None
    except _failures(errors) as error:
        raise OSError(f"Expected to write to the repository {repo}; got {_why(error, errors, False)}.") from None
    return str(address)


def _failures(errors: Any) -> tuple[type[Exception], ...]:
    """What is raised where the hub refuses, or the network fails."""
    return errors.HTTPError, errors.LocalEntryNotFoundError, errors.LocalTokenNotFoundError, OSError


def _why(error: Exception, errors: Any, known_only: bool) -> str:
    """What went wrong, in a few words."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.HFValidationError):
        return f"a name that the hub does not take: {_line(error).rstrip('.')}"
    if known_only:
        return "none of it on this machine, and a file does not decide what is downloaded"
    if isinstance(error, errors.GatedRepoError):
        return "a repository that asks you to accept its terms first, in a browser, and to log in (hf auth login)"
    if isinstance(error, errors.RevisionNotFoundError):
        return "no such revision"
    if isinstance(error, errors.RepositoryNotFoundError) or status == 401:
        return "no such repository, or a private one: log in (hf auth login)"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return "no answer from the hub, and nothing in the cache"
    if isinstance(error, errors.EntryNotFoundError):
        return "a repository without this file"
    if isinstance(error, errors.LocalTokenNotFoundError):
        return "no token: log in (hf auth login)"
    if status is not None:
        return f"status {status} from the hub"
    return f"no answer from the hub ({type(error).__name__})"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _hub() -> tuple[Any, Any]:
    try:
        return import_module("huggingface_hub"), import_module("huggingface_hub.errors")
    except ImportError:
        raise ImportError(f"Expected huggingface_hub, to reach the hub; it is not installed. {EXTRA}") from None
