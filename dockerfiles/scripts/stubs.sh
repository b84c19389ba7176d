# Makes libraries of the driver out of $headers with $compiler, at $stubs.
. /scripts/tree.sh
mkdir -p "$tree$stubs"

# declared HEADER OPTION...: the functions that a header declares, as the compiler reads it
declared() {
  of=$1; shift
  "$compiler" -I"$headers" -include "$of" "$@" -fsyntax-only -aux-info /dev/stdout -x c /dev/null |
    sed -n "s|^/\* $headers/$of:.* extern [^(]*[ *]\([A-Za-z0-9_]*\) (.*|\1|p"
}

# stub LIBRARY ANSWER HEADER...: with the functions of older versions of the driver's interface, and
# those of programs in which each thread has a default stream
stub() {
  library=$1; answer=$2; shift 2
  for header; do
    [ -e "$headers/$header" ] || continue
    declared "$header"
    declared "$header" -D__CUDA_API_VERSION_INTERNAL
    declared "$header" -DCUDA_API_PER_THREAD_DEFAULT_STREAM
  done >/functions
  [ -s /functions ] || { echo "$library: no function is declared in $*" >&2; exit 1; }
  LC_ALL=C sort -u /functions | sed "s/.*/int &(void) { return $answer; }/" |
    "$compiler" -shared -nostdlib -O1 -Wl,-soname,"$library" -Wl,--build-id=none \
      -o "$tree$stubs/${library%.1}" -x c -
}
