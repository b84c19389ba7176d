"""Libraries that others need, in the directories where they are installed: the commands that
install them, and the variables by which builds and programs find them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from envmatrix.sessions.buildsystems.python import SITE_PACKAGES
from envmatrix.sessions.context import PREFIX, BuildContext, Command

# Directories of libraries, of what pkg-config reads, in a prefix.
_LIBRARIES = ("lib", "lib64")
_PKG_CONFIG = ("lib/pkgconfig", "lib64/pkgconfig", "share/pkgconfig")
# How the values of variables are joined to those that a library sets itself.
_SEPARATORS = {
    "CMAKE_PREFIX_PATH": ":",
    "CPPFLAGS": " ",
    "LDFLAGS": " ",
    "PKG_CONFIG_PATH": ":",
    "PYTHONPATH": ":",
}
# Keeps what the image has in the variable, such as the directory of CUDA.
_WITH_LIBRARIES = """
LD_LIBRARY_PATH=$1${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}; export LD_LIBRARY_PATH
shift; exec "$@"
"""


def installation(context: BuildContext) -> Sequence[Command]:
    """Return the commands that install a compiled library into its prefix."""
    own = context.library.build.install
    if not own:
        usual = context.system.installation(context)
        return [usual] if usual else []
    return [
        Command("install", ["bash", "-euo", "pipefail", "-c", line], context.tree) for line in own
    ]


def build_variables(context: BuildContext) -> Mapping[str, str]:
    """Return the variables by which builds find what a library needs. Programs that a build makes
    and runs find it by their RUNPATH: with LD_LIBRARY_PATH, compilers and CMake would load it."""
    if not context.prefixes:
        return {}
    libraries = _directories(context, _LIBRARIES)
    path = ":".join(libraries)
    return {
        "CMAKE_PREFIX_PATH": ":".join(_directories(context)),
        "CPPFLAGS": " ".join(f"-I{name}" for name in _directories(context, ("include",))),
        # In words that nvcc takes as well. Of what libraries need in turn, a linker for another
        # architecture searches the directories of -rpath-link alone.
        "LDFLAGS": " ".join(
            [
                *(f"-L{name}" for name in libraries),
                *(f"-Xlinker {option}={path}" for option in ("-rpath", "-rpath-link")),
            ]
        ),
        "PKG_CONFIG_PATH": ":".join(_directories(context, _PKG_CONFIG)),
    }


def python_variables(context: BuildContext) -> Mapping[str, str]:
    """Return the variable by which Python finds what a library needs."""
    own = f"lib/python{context.python}/site-packages" if context.python else SITE_PACKAGES
    places = _directories(context, dict.fromkeys((SITE_PACKAGES, own)))
    return {"PYTHONPATH": ":".join(places)} if places else {}


def joined(environment: Mapping[str, str], more: Mapping[str, str]) -> Mapping[str, str]:
    """Return variables with `more`, behind what they have; nothing is added twice."""
    values = dict(environment)
    for name, text in more.items():
        present, separator = values.get(name, ""), _SEPARATORS[name]
        if not present.endswith(text):
            values[name] = f"{present}{separator if present else ''}{text}"
    return values


def with_loader(context: BuildContext, command: Sequence[str]) -> Sequence[str]:
    """Return a command whose programs load the libraries that a library needs."""
    path = ":".join(_directories(context, _LIBRARIES))
    return ["sh", "-euc", _WITH_LIBRARIES, "sh", path, *command] if path else command


def _directories(context: BuildContext, places: Iterable[str] = ("",)) -> list[str]:
    """Return these places in the prefixes of what a library needs, the nearest needs first."""
    names = reversed([*context.prefixes])
    return [f"{PREFIX}/{name}/{place}".rstrip("/") for name in names for place in places]
