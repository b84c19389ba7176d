# Meson: dependency(), and tests that it runs
. "$HERE/lib.sh"
[ -z "${CROSS_TRIPLE:-}" ] || set -- --cross-file toolchain.ini --cross-file emulated.ini
mkdir source
cp "$HERE/meson/meson.build" "$HERE/zlib/zlib.c" source
meson setup "$@" build source
cd build
ninja
of_machine program
meson test | grep -E '^Ok: +1'
