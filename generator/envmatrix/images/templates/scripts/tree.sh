# Assembles files under $tree, the content of one layer.
set -eu
# BuildKit copies equal files from its cache, whatever their times: so the name has the time.
tree=/tree-$SOURCE_DATE_EPOCH

# take FILE [DIRECTORY PATTERN]...: files of one of the stage's packages, each into a directory of
# $CUDA_ROOT or an absolute one. The package may lack what has `?` before it; what has `=` before it is
# unpacked by another pattern.
take() {
  package=$1; shift
  mkdir -p /unpacked
  unpack "$package" "$@"
  while [ $# -gt 0 ]; do place "$1" "${2#=}"; shift 2; done
  rm -rf /unpacked
}

unpack() {
  file=$1; shift
  is_directory=false
  for word; do
    shift
    if $is_directory; then is_directory=false; else is_directory=true; fi
    case $is_directory$word in
      true* | false=*) ;;
      false\?*) extract "$file" "${word#?}" 2>/dev/null || : ;;
      *) set -- "$@" "$word" ;;
    esac
  done
  [ $# -eq 0 ] || extract "$file" "$@"
}

extract() {
  file=$1; shift
  case $file in
    *.deb) for pattern; do set -- "$@" "./$pattern"; shift; done
           dpkg-deb --fsys-tarfile "/files/$file" | tar -x -C /unpacked --wildcards "$@" ;;
    *.rpm) for pattern; do set -- "$@" "./$pattern" "./$pattern/*"; shift; done
           (cd /unpacked && rpm2cpio "/files/$file" | cpio -idm --quiet "$@") ;;
    *.whl) unzip -q "/files/$file" "$@" -d /unpacked ;;
    *.tar.xz) for pattern; do set -- "$@" "*/$pattern"; shift; done
              tar -x -J -f "/files/$file" -C /unpacked --strip-components=1 --wildcards "$@" ;;
  esac
}

destination() { case $1 in /*) echo "$tree$1" ;; *) echo "$tree$CUDA_ROOT/$1" ;; esac; }

place() {
  to=$(destination "$1")
  mkdir -p "$to"
  (
    cd /unpacked
    case $2 in \?*) set -- ${2#?}; [ -e "$1" ] || exit 0 ;; *) set -- $2 ;; esac
    cp -al "$@" "$to/"
  )
}

drop() { for pattern; do rm -rf "$tree$CUDA_ROOT/"$pattern; done; }

link() { to=$(destination "$1"); mkdir -p "${to%/*}"; ln -sfn "$2" "$to"; }

# expose TARGET SEARCHED DESCRIBED: the libraries of CUDA's target, where linkers search without
# being told, also by the names that programs load them by; and to pkg-config. What the driver has
# is under such a name in SEARCHED alone, where no loader looks: programs must not get a stub.
expose() {
  libraries=$CUDA_ROOT/targets/$1/lib; searched=$2; described=$3
  mkdir -p "$tree$searched" "$tree$described"
  for file in "$tree$libraries"/lib*.a "$tree$libraries"/lib*.so "$tree$libraries"/stubs/lib*.so; do
    [ -e "$file" ] || [ -h "$file" ] || continue
    path=${file#"$tree"}; name=${file##*/}
    ln -sfn "$path" "$tree$searched/$name"
    case $path in
      *.a) continue ;;
      */stubs/*) loaded=$name.1 ;;
      *) loaded=$(readlink "$file" || echo "$name") ;;
    esac
    ln -sfn "$path" "$tree$searched/$loaded"
    describe "$1" "${path%/*}" "${name%.so}"
  done
}

# describe TARGET DIRECTORY NAME: a library for pkg-config, as NVIDIA's packages do
describe() {
  release=${CUDA_ROOT##*-}; library=${3#lib}
  case $library in cublas*) version=${release%%.*} ;; *) version=$release ;; esac
  cat >"$tree$described/$library-$version.pc" <<PC
cudaroot=$CUDA_ROOT
libdir=\${cudaroot}${2#"$CUDA_ROOT"}
includedir=\${cudaroot}/targets/$1/include

Name: $library
Description: $library of CUDA $release
Version: $version
Libs: -L\${libdir} -l$library
Cflags: -I\${includedir}
PC
}

# The compiler's configuration, which finds everything relative to it. The headers are system headers,
# as they are where Debian installs them: glibc 2.41 declares cospi and its kin noexcept, CUDA 12.4
# does not, and only in system headers is that no error. GCC's CPLUS_INCLUDE_PATH makes them that;
# CMake, which looks for the headers in INCLUDES, understands no other option there than -I.
profile() { cat /scripts/nvcc.profile >"$tree$CUDA_ROOT/bin/nvcc.profile"; }

# Owners, modes and times that depend on nothing but the files' names.
finish() {
  chown -R 0:0 "$tree"
  find "$tree" -type d -exec chmod 755 {} +
  find "$tree" -type f -exec chmod 644 {} +
  for programs in "$tree$CUDA_ROOT/bin" "$tree$CUDA_ROOT/nvvm/bin"; do
    [ ! -d "$programs" ] ||
      find "$programs" -maxdepth 1 -type f ! -name '*.profile' -exec chmod 755 {} +
  done
  find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}
