"""Archives with what programs that pack them would not write."""

from __future__ import annotations

import io
import tarfile
import zipfile


class Entry(tarfile.TarInfo):
    """A member of a tar with its content, if it is a file."""

    content = b"x"


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> Entry:
    member = Entry(name)
    member.type = kind
    for field, value in fields.items():
        setattr(member, field, value)
    return member


def link(name: str, target: str) -> Entry:
    return entry(name, tarfile.SYMTYPE, linkname=target)


def hard_link(name: str, target: str) -> Entry:
    return entry(name, tarfile.LNKTYPE, linkname=target)


def tar(*entries: Entry, mode: str = "w", **options: object) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode, **options) as archive:  # type: ignore[call-overload]
        for one in entries:
            if one.isreg():
                one.size = len(one.content)
            archive.addfile(one, io.BytesIO(one.content))
    return stream.getvalue()


def zipped(*entries: tuple[str, bytes, int], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip of these names, contents and modes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content, mode in entries:
            member = zipfile.ZipInfo(name)
            member.external_attr, member.compress_type = mode << 16, method
            archive.writestr(member, content)
    return stream.getvalue()
