# CC, CXX, CPP, AR, AS, LD, NM, OBJCOPY, OBJDUMP, RANLIB, READELF, SIZE, STRINGS, STRIP
. "$HERE/lib.sh"
[ -n "${CROSS_TRIPLE:-}" ] || for_other_images "natively they have their own names"
for name in gcc g++ cc c++ cpp gcc-ar gcc-nm gcc-ranlib gcov ar as ld nm objcopy objdump ranlib readelf strip; do
  "$CROSS_COMPILE$name" --version >/dev/null
done
echo 'int a = MACRO;' >a.c
"$CPP" -DMACRO=1 a.c -o a.i
"$CC" -S a.i -o a.s
"$AS" a.s -o a.o
"$LD" -r a.o -o b.o
"$OBJCOPY" --add-symbol other=0x1 b.o c.o
"$NM" c.o | grep other
"$AR" rc liba.a c.o
"$RANLIB" liba.a
"$STRIP" -g c.o
"$OBJDUMP" -d c.o
"$READELF" -h c.o | grep AArch64
"$SIZE" c.o
"$STRINGS" c.o
echo 'int a() { return 1; }' >a.cpp
"$CXX" -c a.cpp -o d.o
of_machine a.o b.o c.o d.o
