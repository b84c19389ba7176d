"""Python's packaging: wheels, and what Python programs import of those that a build makes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from envmatrix.matrix.library import Library
from envmatrix.sessions.buildsystems.cmake import variant_options
from envmatrix.sessions.context import (
    BUILD,
    REQUIRES,
    BuildContext,
    BuildSystem,
    Command,
    Settings,
)
from envmatrix.sessions.flags import joined, variant_flags

# Directories of the wheels of the build, of those that are fit to publish, and of unpacked ones,
# which Python programs import from.
WHEELS, DIST, SITE = "wheels", "dist", "site"
_SITE = f"""
unpacked=$1
rm -rf {SITE}
set -- "$2"/*.whl
[ ! -e "$1" ] || python3 -c "$unpacked" {SITE} '' "$@"
"""
# Into their directory, as an installation has it; with a prefix, also what is for other directories
# of it. In the container: a wheel may be anything.
_UNPACK = r"""
import os, pathlib, shutil, sys, zipfile
site, prefix, *wheels = sys.argv[1:]
target = pathlib.Path(site)
places = {"purelib": target, "platlib": target}
if prefix:
    root = pathlib.Path(prefix)
    places |= {"data": root, "headers": root / "include", "scripts": root / "bin"}
for wheel in wheels:
    try:
        if not os.path.isfile(wheel):
            raise OSError("it is no file")
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                file = pathlib.Path(archive.extract(entry, target))
                if entry.external_attr >> 16 & 0o111:
                    file.chmod(0o755)
        for scheme, place in places.items():
            for directory in sorted(target.glob(f"*.data/{scheme}")):
                shutil.copytree(directory, place, dirs_exist_ok=True)
    except Exception as error:
        sys.exit(f"error: {wheel} cannot be unpacked: {error}")
"""


def unpack_wheels(step: str, directory: str) -> Command:
    """Return the command that unpacks the wheels of a directory for Python programs."""
    return Command(step, ["sh", "-euc", _SITE, "sh", _UNPACK, directory])


# Variables with which Python finds unpacked wheels, and those that the library requires.
PYTHON_PATH = {"PYTHONPATH": f"{BUILD}/{SITE}:{REQUIRES}"}

# Where packages are installed, in a prefix.
SITE_PACKAGES = "lib/python3/site-packages"

# Equal sources become equal wheels: the time of files in them, the first that a zip file can hold,
# and a directory of a name that is not of chance, for what scikit-build-core compiles.
_SAME_WHEELS = {"SOURCE_DATE_EPOCH": "315532800", "SKBUILD_BUILD_DIR": f"{BUILD}/skbuild"}
# Wheels hold the modes of files, which a checkout has from the umask of whoever made it. A wheel of
# another version would be taken for one of this build.
_WITH_USUAL_MODES = f'rm -rf {BUILD}/{WHEELS} && chmod -R u=rwX,go=rX . && umask 022 && exec "$@"'


def same_wheels(library: Library) -> Mapping[str, str]:
    """Return the variables with which equal sources become equal wheels; those of the library
    itself are set in its containers."""
    own = library.build.environment
    return {name: text for name, text in _SAME_WHEELS.items() if name not in own}


class Python(BuildSystem):
    copies_source = True
    products = (f"{WHEELS}/*.whl", f"{SITE}/**/*.so")
    published_products = (f"{DIST}/*.whl", f"{SITE}/**/*.so")
    product = "wheel"
    test_environment = PYTHON_PATH

    def settings(self, library: Library) -> Settings:
        """Return flags for setuptools, and variables of backends that call CMake."""
        variant = library.variant
        cmake = {
            "CMAKE_ARGS": " ".join(variant_options(library)),
            "SKBUILD_CMAKE_BUILD_TYPE": variant.build_type or "",
        }
        return Settings(environment=joined(variant_flags(variant), cmake))

    def installation(self, context: BuildContext) -> Command:
        script = 'mkdir -p "$2"; exec python3 -c "$1" "$2" "$3" wheels/*.whl'
        site = f"{context.prefix}/{SITE_PACKAGES}"
        argv = ["sh", "-euc", script, "sh", _UNPACK, site, str(context.prefix)]
        return Command("install", argv)

    def commands(self, context: BuildContext) -> Sequence[Command]:
        """Build a wheel with the project's own backend, from the packages in `requires`."""
        build = context.library.build
        argv = ["python3", "-m", "build", "--wheel", "--no-isolation", "--skip-dependency-check"]
        settings = [f"--config-setting={option}" for option in build.options]
        parallel = {"CMAKE_BUILD_PARALLEL_LEVEL": str(context.jobs), "MAX_JOBS": str(context.jobs)}
        argv += [*settings, "--outdir", f"{BUILD}/{WHEELS}", "."]
        same = same_wheels(context.library)
        command = ["sh", "-euc", _WITH_USUAL_MODES, "sh", *argv]
        return (Command("compile", command, context.tree, {**parallel, **same}),)
