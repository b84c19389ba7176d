"""How mmdebstrap makes a base of another architecture without emulating most of it: the programs
that unpack and configure packages come from a base of this machine's architecture and of the same
suite, the helper. Pure.

Only dpkg itself is of the new base, and emulated: packages for all architectures have the one that
dpkg was compiled for. It starts the helper's dpkg-deb, shell and Perl, and passes $DPKG_ROOT to
maintainer scripts: https://wiki.debian.org/Teams/Dpkg/Spec/InstallBootstrap
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

# In the directory of `scripts`: the layer of the helper.
HELPER = "helper.tar"

# Instead of the program of this name: mmdebstrap starts dpkg by it.
_CHROOT = """\
#!/bin/sh
set -eu
if [ "$2" != dpkg ]; then
  PATH=${PATH#*:} exec chroot "$@"
fi
root=$1
shift 2
NEW_ROOT=$root exec "${0%/*}/dpkg-of-new-root" "$@"
"""

_DPKG_NAME = "dpkg-of-new-root"

# dpkg of $NEW_ROOT in the root of the helper, which sees $NEW_ROOT under the same path. mmdebstrap
# names packages by paths in the new root, apt by paths outside of it: both are there.
_DPKG = """\
#!/bin/sh
set -eu
exec unshare --mount sh -euc '
helper=$NEW_ROOT/tmp/helper
mkdir -p "$helper$NEW_ROOT" "$helper/dev"
mount --bind "$NEW_ROOT" "$helper$NEW_ROOT"
mount --bind "$NEW_ROOT/var/cache/apt" "$helper/var/cache/apt"
mount --rbind /dev "$helper/dev"
unset APT_CONFIG TMPDIR
export QEMU_LD_PREFIX="$NEW_ROOT"
exec chroot "$helper" "$NEW_ROOT/usr/bin/dpkg" --root="$NEW_ROOT" \\
  --force-script-chrootless --log="$NEW_ROOT/var/log/dpkg.log" "$@"
' dpkg "$@"
"""


def scripts() -> Mapping[str, str]:
    """Return the programs of a directory that is to be first in mmdebstrap's $PATH."""
    return {"chroot": _CHROOT, _DPKG_NAME: _DPKG}


def options(directory: Path) -> Sequence[str]:
    """Return mmdebstrap's options that install apt over the essential packages, as `--include=apt`
    does; `directory` has the scripts and the helper.

    mmdebstrap empties /tmp of the new root at the end. ldconfig of the helper knows no libraries of
    another architecture, so that of the new base writes the cache again.
    """
    unpack = (
        f'tar --extract --file={directory / HELPER} --exclude=./dev --directory="$1"/tmp/helper'
    )
    install = f"apt-get --yes -oDir::Bin::dpkg={directory / _DPKG_NAME} install apt"
    variables = 'NEW_ROOT="$1" TMPDIR="$1"/tmp APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"'
    return (
        f'--setup-hook=mkdir --parents "$1"/tmp/helper && {unpack}',
        f"--essential-hook={variables} {install}",
        '--customize-hook=chroot "$1" ldconfig',
    )
