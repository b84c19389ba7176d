"""Makes rpm repositories; the second step runs where rpmbuild and createrepo_c are.

    python3 rpms.py rpm OUT         files of a system's packages, of Debian's that it installs
    python3 rpms.py zypper OUT      the same, by the names of another family
    python3 rpms.py packages OUT    a repository with a package of each directory in OUT/trees

It imports nothing of the project: the Python is that of a container.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

# Package -> the Debian packages whose files it has, beside those that are there before it.
COMMON = {
    "glibc": [],
    "cpio": ["cpio"],
    "file": ["file"],
    "findutils": [],
    "make": ["make"],
    "tar": [],
    "unzip": ["unzip"],
    "xz": ["xz-utils"],
}
SYSTEMS = {
    "rpm": {
        **COMMON,
        "libgomp": ["libgomp1"],
        "libstdc++": ["libstdc++6"],
        "ninja-build": ["ninja-build"],
        "cmake": ["cmake"],
        "gcc-c++": ["g++-12"],
        "gcc-toolset-14-gcc-c++": [],
    },
    "zypper": {
        **COMMON,
        "libgomp1": ["libgomp1"],
        "libstdc++6": ["libstdc++6"],
        "ninja": ["ninja-build"],
        "cmake": ["cmake"],
        "ccache": ["ccache"],
        "gcc15-c++": ["g++-12"],
    },
}
REQUIRES = {
    "gcc-c++": ["libgomp", "libstdc++"],
    "gcc-toolset-14-gcc-c++": ["gcc-c++"],
    "gcc15-c++": ["libgomp1", "libstdc++6"],
}
PROVIDES = {"glibc": "Provides: /sbin/ldconfig\n"}
TOOLSET = "opt/rh/gcc-toolset-14/root/usr/bin"
LINKS = {
    "gcc-toolset-14-gcc-c++": {
        f"{TOOLSET}/gcc": "/usr/bin/gcc-12",
        f"{TOOLSET}/g++": "/usr/bin/g++-12",
    },
    "gcc15-c++": {"usr/bin/gcc-15": "gcc-12", "usr/bin/g++-15": "g++-12"},
}

SPEC = """\
Name: {name}
Version: {version}
Release: 1
Summary: made for a test
License: none
AutoReqProv: no
{provides}{requires}
%description
Made for a test.
{post}
%files {files}
"""
OPTIONS = {
    "_binary_payload": "w1.gzdio",
    "_buildhost": "mirror.example",
    "_build_id_links": "none",
    "__os_install_post": "%{nil}",
    "debug_package": "%{nil}",
    "use_source_date_epoch_as_buildtime": "1",
    "clamp_mtime_to_source_date_epoch": "1",
}


def build(out: Path, name: str, version: str, tree: Path) -> None:
    """Build a package of the files in `tree`, which it takes."""
    inside = [file for file in sorted(tree.rglob("*")) if file.is_symlink() or file.is_file()]
    listed, spec = Path("/tmp/files"), Path("/tmp/spec")
    listed.write_text("".join(f'"/{file.relative_to(tree)}"\n' for file in inside))
    requires = "".join(f"Requires: {needed}\n" for needed in REQUIRES.get(name, ()))
    spec.write_text(
        SPEC.format(
            name=name,
            version=version,
            provides=PROVIDES.get(name, ""),
            requires=requires,
            post="" if name == "glibc" else "%post -p /sbin/ldconfig",
            files=f"-f {listed}" if inside else "",
        )
    )
    command = ["rpmbuild", "-bb", "--quiet", "--target=x86_64", f"--buildroot={tree}"]
    command += [f"--define={key} {value}" for key, value in OPTIONS.items()]
    command += [f"--define=_rpmdir {out}", "--define=_rpmfilename %{NVRA}.rpm"]
    subprocess.run([*command, str(spec)], check=True)
    shutil.rmtree(tree, ignore_errors=True)


def files(family: str, out: Path) -> None:
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    for name, debian in SYSTEMS[family].items():
        tree = out / f"trees/{name}_1.0"
        tree.mkdir(parents=True)
        before = installed()
        if debian:
            install = ["apt-get", "install", "-qq", "--no-install-recommends", *debian]
            subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
        for package in sorted(installed() - before):
            for file in map(Path, said_by("dpkg", "-L", package)):
                # What is in /bin is in /usr/bin.
                at = file.parent.resolve() / file.name
                if len(at.parts) > 2 and (at.is_symlink() or at.is_file()):
                    copy = tree / at.relative_to("/")
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(at, copy, follow_symlinks=False)
        for link, target in LINKS.get(name, {}).items():
            (tree / link).parent.mkdir(parents=True, exist_ok=True)
            (tree / link).symlink_to(target)


def installed() -> "set[str]":
    return set(said_by("dpkg-query", "-W", "-f", "${Package}\n"))


def said_by(*command: str) -> "list[str]":
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE)
    return done.stdout.splitlines()


def packages(out: Path) -> None:
    for tree in sorted((out / "trees").iterdir()):
        name, version = tree.name.rsplit("_", 1)
        build(out, name, version, tree)
    stamp = [f"--revision={os.environ['SOURCE_DATE_EPOCH']}", "--set-timestamp-to-revision"]
    subprocess.run(["createrepo_c", "--quiet", *stamp, str(out)], check=True)


if __name__ == "__main__":
    step, out = sys.argv[1:]
    if step == "packages":
        packages(Path(out))
    else:
        files(step, Path(out))
