"""Wheels that a build makes and that Python programs import from. Pure."""

from __future__ import annotations

from envmatrix.sessions.context import BUILD, REQUIRES, Command

WHEELS = f"{BUILD}/wheels"
# Directory of the unpacked wheels of the build, which Python programs import from.
SITE = "site"
_SITE = f"""
unpacked=$1
rm -rf {SITE}
set -- wheels/*.whl
[ ! -e "$1" ] || python3 -c "$unpacked" {SITE} "$@"
"""
# Into their directory, as an installation has it. In the container: a wheel may be anything.
_UNPACK = r"""
import os, pathlib, shutil, sys, zipfile
site, *wheels = sys.argv[1:]
target = pathlib.Path(site)
for wheel in wheels:
    try:
        if not os.path.isfile(wheel):
            raise OSError("it is no file")
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                file = pathlib.Path(archive.extract(entry, target))
                if entry.external_attr >> 16 & 0o111:
                    file.chmod(0o755)
        for scheme in ("purelib", "platlib"):
            for directory in sorted(target.glob(f"*.data/{scheme}")):
                shutil.copytree(directory, target, dirs_exist_ok=True)
    except Exception as error:
        sys.exit(f"error: {wheel} cannot be unpacked: {error}")
"""
UNPACK_WHEELS = Command("compile", ["sh", "-euc", _SITE, "sh", _UNPACK])
# Variables with which Python finds unpacked wheels, and those that the library requires.
PYTHON_PATH = {"PYTHONPATH": f"{BUILD}/{SITE}:{REQUIRES}"}
