"""The page of `envmatrix --help`. It imports nothing, so the page comes at once. Pure."""

HELP_OPTIONS = ("-h", "--help")

VERBS = {
    "affected": "Show which libraries a change affects, in which cells.",
    "analyse": "Analyse libraries in many cells, in parallel.",
    "bisect": "Find the first commit that fails or is slower.",
    "build": "Pull or build the images of cells.",
    "ci": "Plan, run and judge the jobs of a matrix in CI engines.",
    "compile": "Compile libraries in many cells, in parallel.",
    "completion": "Complete command lines in bash, zsh and fish.",
    "doctor": "Check this machine, and install what is missing.",
    "export": "Write waivers and lists of tests in the formats of another project.",
    "exec": "Run a command in the container of a cell.",
    "gc": "Remove images and files that no lock needs any more.",
    "generate": "Write the Dockerfiles, or check that they are up to date.",
    "images": "List and check published images.",
    "import": "Convert the CI matrix of another project to a matrix.yaml.",
    "init": "Write the first matrix.yaml for the library in this directory.",
    "lock": "Resolve every package to a file and its sha256.",
    "mirror": "Copy all files of the lock, for machines without a network.",
    "perf": "Measure libraries in many cells, one at a time.",
    "plan": "Show what `build` would do, and why.",
    "pull": "Pull published images by digest.",
    "push": "Publish built images.",
    "report": "Show the latest results and regressions.",
    "run": "Compile, test or measure libraries in a single cell's container.",
    "sbom": "Write bills of materials of images.",
    "shell": "Open a shell in the container of a cell.",
    "test": "Compile and test libraries in many cells, in parallel.",
    "serve": "Show the dashboard of results on loopback.",
    "step": "Run steps of libraries in many cells, in parallel.",
    "status": "Show the state of the repository and the next step.",
    "verify": "Rebuild images without a cache, and compare bit for bit.",
    "why": "Explain why a cell exists or cannot, or why a package is locked.",
}

_ROWS = "\n".join(f"  {verb:10}  {summary}" for verb, summary in sorted(VERBS.items()))

PAGE = f"""\
Usage: envmatrix [OPTIONS] COMMAND [ARGS]...

  Locked, reproducible CUDA build environments from one matrix file.

  Without a verb, show the state of the repository and the next step.

Options:
  --version   Show the version and exit.
  -h, --help  Show this message and exit.

Verbs:
{_ROWS}

  Example: envmatrix why cuda12.4-debian13-aarch64
"""
