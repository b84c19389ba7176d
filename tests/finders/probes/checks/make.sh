# Make: CC, AR, RANLIB, STRIP, CROSS_COMPILE, CC_FOR_BUILD
. "$HERE/lib.sh"
cp "$HERE"/make/* .
make STRIP="${STRIP:-strip}" RANLIB="${RANLIB:-ranlib}" all prefixed generator
of_machine program kernel.o prefixed
