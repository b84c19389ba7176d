"""Python's packaging: wheels. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from envmatrix.sessions.context import BUILD, BuildContext, BuildSystem, Command
from envmatrix.sessions.wheels import PYTHON_PATH, SITE, WHEELS

# Equal sources become equal wheels: the time of files in them, the first that a zip file can hold,
# and a directory of a name that is not of chance, for what scikit-build-core compiles.
_SAME_WHEELS = {"SOURCE_DATE_EPOCH": "315532800", "SKBUILD_BUILD_DIR": f"{BUILD}/skbuild"}
# Wheels hold the modes of files, which a checkout has from the umask of whoever made it.
_WITH_USUAL_MODES = 'chmod -R u=rwX,go=rX . && umask 022 && exec "$@"'


class Python(BuildSystem):
    copies_source = True
    products = ("wheels/*.whl", f"{SITE}/**/*.so")
    product = "wheel"
    test_environment = PYTHON_PATH

    def commands(self, context: BuildContext) -> Sequence[Command]:
        """Build a wheel with the project's own backend, from the packages in `requires`."""
        build = context.library.build
        argv = ["python3", "-m", "build", "--wheel", "--no-isolation", "--skip-dependency-check"]
        settings = [f"--config-setting={option}" for option in build.options]
        parallel = {"CMAKE_BUILD_PARALLEL_LEVEL": str(context.jobs), "MAX_JOBS": str(context.jobs)}
        argv += [*settings, "--outdir", WHEELS, "."]
        # The library's own variables are set in its container.
        same = {name: text for name, text in _SAME_WHEELS.items() if name not in build.environment}
        command = ["sh", "-euc", _WITH_USUAL_MODES, "sh", *argv]
        return (Command("compile", command, context.tree, {**parallel, **same}),)
