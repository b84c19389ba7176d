# -lcuda, -lnvidia-ml and -lcudart without -L
. "$HERE/lib.sh"
"$CC" -Wl,--no-as-needed -o program "$HERE/kernel/driver.c" -lcuda -lcudart -lnvidia-ml
of_machine program
