"""Keys that sign a repository for apt, without GnuPG: Ed25519 (RFC 8032) in OpenPGP (RFC 4880).

Nothing here is fast, or safe for a key that is worth something.
"""

from __future__ import annotations

import hashlib
from base64 import encodebytes
from dataclasses import dataclass

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_BASE = (
    15112221349535400772501151409588531511454012693041857206046113283949847762202,
    46316835694926478169428394003475163141307993866256225615783033603165251855960,
)
_ED25519 = bytes.fromhex("092b06010401da470f01")  # the curve's OID, and its length
_SHA512, _EDDSA = 10, 22
_KEY, _USER, _SIGNATURE = 6, 13, 2
_CREATED, _EXPIRES, _ISSUER, _FLAGS, _FINGERPRINT = 2, 9, 16, 27, 33
_OF_FILE, _OF_USER = 0x00, 0x13


@dataclass(frozen=True)
class Key:
    """`created` in seconds since 1970, `lifetime` in seconds; without one it never expires."""

    name: str
    created: int
    lifetime: int | None = None

    @property
    def public(self) -> bytes:
        user = self.name.encode()
        subject = b"\x99" + _sized(2, self._body) + b"\xb4" + _sized(4, user)
        limit = _subpacket(_EXPIRES, self.lifetime.to_bytes(4)) if self.lifetime else b""
        bound = self._signature(_OF_USER, subject, _subpacket(_FLAGS, b"\x03") + limit)
        packets = _packet(_KEY, self._body) + _packet(_USER, user) + bound
        return _armored("PUBLIC KEY BLOCK", packets)

    def sign(self, data: bytes) -> bytes:
        """Return a detached signature."""
        return _armored("SIGNATURE", self._signature(_OF_FILE, data))

    @property
    def fingerprint(self) -> str:
        return hashlib.sha1(b"\x99" + _sized(2, self._body)).hexdigest().upper()  # noqa: S324

    @property
    def _secret(self) -> bytes:
        return hashlib.sha512(hashlib.sha256(self.name.encode()).digest()).digest()

    @property
    def _scalar(self) -> int:
        return int.from_bytes(self._secret[:32], "little") & ((1 << 254) - 8) | (1 << 254)

    @property
    def _point(self) -> bytes:
        return _times(self._scalar)

    @property
    def _body(self) -> bytes:
        head = b"\x04" + self.created.to_bytes(4) + bytes([_EDDSA]) + _ED25519
        return head + _number(b"\x40" + self._point)

    def _signature(self, kind: int, subject: bytes, more: bytes = b"") -> bytes:
        issuer = bytes.fromhex(self.fingerprint)
        hashed = _subpacket(_CREATED, self.created.to_bytes(4)) + more
        hashed += _subpacket(_FINGERPRINT, b"\x04" + issuer)
        head = bytes([4, kind, _EDDSA, _SHA512]) + _sized(2, hashed)
        digest = hashlib.sha512(subject + head + b"\x04\xff" + len(head).to_bytes(4)).digest()
        r, s = self._signed(digest)
        last = _sized(2, _subpacket(_ISSUER, issuer[-8:])) + digest[:2] + _number(r) + _number(s)
        return _packet(_SIGNATURE, head + last)

    def _signed(self, message: bytes) -> tuple[bytes, bytes]:
        nonce = _hashed(self._secret[32:], message)
        r = _times(nonce)
        s = (nonce + _hashed(r, self._point, message) * self._scalar) % _ORDER
        return r, s.to_bytes(32, "little")


def _hashed(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % _ORDER


def _times(scalar: int) -> bytes:
    """Return the base point, `scalar` times, encoded."""
    point, power = (0, 1), _BASE
    while scalar:
        if scalar & 1:
            point = _sum(point, power)
        power, scalar = _sum(power, power), scalar >> 1
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _sum(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    (x1, y1), (x2, y2) = one, other
    product = _D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, _P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, _P)
    return x % _P, y % _P


def _sized(octets: int, content: bytes) -> bytes:
    return len(content).to_bytes(octets) + content


def _packet(tag: int, content: bytes) -> bytes:
    return bytes([0xC0 | tag, 0xFF]) + _sized(4, content)


def _subpacket(kind: int, content: bytes) -> bytes:
    return _sized(1, bytes([kind]) + content)


def _number(content: bytes) -> bytes:
    value = content.lstrip(b"\0")
    return int.from_bytes(value).bit_length().to_bytes(2) + value


def _armored(kind: str, packets: bytes) -> bytes:
    body, check = encodebytes(packets).decode(), encodebytes(_crc24(packets)).decode()
    return f"-----BEGIN PGP {kind}-----\n\n{body}={check}-----END PGP {kind}-----\n".encode()


def _crc24(content: bytes) -> bytes:
    """Return the checksum of section 6.1, without which GnuPG does not see a signature's end."""
    crc = 0xB704CE
    for octet in content:
        crc ^= octet << 16
        for _ in range(8):
            crc = crc << 1 ^ (0x1864CFB if crc & 0x800000 else 0)
    return (crc & 0xFFFFFF).to_bytes(3)
