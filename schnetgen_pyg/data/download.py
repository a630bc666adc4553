"""Published files: fetched once, checked, kept in the cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pooch

from schnetgen_pyg.data.cache import cache_folder
from schnetgen_pyg.errors import InputError


@dataclass(frozen=True)
class Remote:
    """A published file: where it is, and what it must be."""

    name: str
    md5: str
    addresses: tuple[str, ...]


def figshare(name: str, number: int, md5: str) -> Remote:
    """The file of this number at figshare."""
    hosts = ("https://ndownloader.figshare.com", "https://springernature.figshare.com/ndownloader")
    return Remote(name, md5, tuple(f"{host}/files/{number}" for host in hosts))


def download(remote: Remote, path: str | os.PathLike[str] | None = None) -> Path:
    """A published file, checked: the one at ``path``, or fetched into the cache.

    Raises:
        InputError: for a wrong checksum, or without network.
    """
    if path is not None:
        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        found = pooch.file_hash(str(path), alg="md5")
        if found != remote.md5:
            raise InputError(
                f"{path}: checksum {found}, but {remote.name} has {remote.md5}; the "
                "file is damaged or another one, fetch it again"
            )
        return path
    failures = []
    for address in remote.addresses:
        try:
            return Path(
                pooch.retrieve(
                    address,
                    f"md5:{remote.md5}",
                    fname=remote.name,
                    path=cache_folder(),
                    progressbar=True,
                )
            )
        except Exception as error:
            failures.append(f"{address}: {type(error).__name__}")
    raise InputError(
        f"{remote.name} could not be fetched ({'; '.join(failures)}). Without a "
        "network, fetch it elsewhere and give the file's path instead"
    )
