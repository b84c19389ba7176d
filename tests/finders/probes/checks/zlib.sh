# A library of the operating system: find_package(ZLIB), -lz
. "$HERE/lib.sh"
configure zlib
ninja
"$CC" -o plain "$HERE/zlib/zlib.c" -lz
of_machine program plain
