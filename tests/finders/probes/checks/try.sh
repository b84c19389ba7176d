# try_run, and programs that a build makes and runs
. "$HERE/lib.sh"
configure try
ninja
grep '^1' written
