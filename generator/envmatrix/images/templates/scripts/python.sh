# python.sh RELEASE [TRIPLET]: compiles CPython from the archive in /files, for the machine TRIPLET by
# the Python of this machine, which is where it would be installed. /tree-EPOCH is a layer with it, and
# /tree-EPOCH-development has what compilers of extensions for that machine read.
set -eu
release=$1; triplet=${2:-}
prefix=/opt/python/$release
tree=/tree-$SOURCE_DATE_EPOCH
umask 022

set -- --prefix="$prefix" --without-ensurepip --disable-test-modules
case $release in *t) set -- "$@" --disable-gil ;; esac
if [ "$triplet" ]; then
  # What configure finds by running programs, as it is on every Linux with glibc.
  set -- "$@" --host="$triplet" --build="$(gcc -dumpmachine)" \
    --with-build-python="$prefix/bin/python3" ac_cv_aligned_required=no ac_cv_broken_sem_getvalue=no \
    ac_cv_buggy_getaddrinfo=no ac_cv_computed_gotos=yes ac_cv_file__dev_ptc=no \
    ac_cv_file__dev_ptmx=yes ac_cv_pthread_system_supported=yes ac_cv_working_tzset=yes
fi
mkdir /build
cd /build
tar -x -f /files/*.tar.* --strip-components=1
# Without debug information. Compiled modules are equal only if one process writes them all.
OPT="-fwrapv -O3 -Wall" ./configure "$@"
make -j"$(nproc)"
make install DESTDIR="$tree" COMPILEALL_OPTS="-q --invalidation-mode unchecked-hash"
cd /
rm -rf /build

library=$(echo "$tree$prefix"/lib/python3.*)
for module in _bz2 _ctypes _lzma _sqlite3 _ssl zlib; do
  [ -e "$(echo "$library"/lib-dynload/$module.*.so)" ] || { echo "error: no module $module" >&2; exit 1; }
done
rm -rf "$library"/idlelib "$library"/test "$library"/tkinter "$library"/turtledemo "$tree$prefix"/share
find "$library" -name '*.opt-[12].pyc' -delete
mkdir -p "$tree/usr/local/bin"
for program in "$tree$prefix"/bin/python3*; do
  ln -s "${program#"$tree"}" "$tree/usr/local/bin/"
done
if [ "$triplet" ]; then
  mkdir "$tree-development"
  cd "$tree"
  cp -al --parents ".$prefix"/bin/python3*-config ".$prefix"/include ".$prefix"/lib/lib*.a \
    ".$prefix"/lib/pkgconfig ".$prefix"/lib/python3.*/config-* ".$prefix"/lib/python3.*/_sysconfig* \
    "$tree-development"
fi
chown -R 0:0 "$tree"*
find "$tree"* -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
