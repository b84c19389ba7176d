# What checks share. `machine` is what this environment compiles for.
machine=$(uname -m)
[ -z "${CROSS_TRIPLE:-}" ] || machine=${CROSS_TRIPLE%%-*}

# of_machine FILE...: each is an object, a library or a program of the target
of_machine() {
  for file; do
    case $(file -bL "$file") in
      *x86-64*) its=x86_64 ;;
      *aarch64*) its=aarch64 ;;
      *) its=unknown ;;
    esac
    [ "$its" = "$machine" ] || { echo "$file is of $its"; return 1; }
  done
}

configure() { cmake -S "$HERE/$1" -B . -G Ninja -DCMAKE_CUDA_ARCHITECTURES=80; }

for_other_images() { echo "$1"; exit 77; }
