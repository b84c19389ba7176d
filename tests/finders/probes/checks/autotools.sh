# autotools: ./configure --host
. "$HERE/lib.sh"
cp "$HERE"/autotools/* "$HERE/zlib/zlib.c" .
autoconf
./configure ${CROSS_TRIPLE:+--host="$CROSS_TRIPLE"}
make
of_machine program
