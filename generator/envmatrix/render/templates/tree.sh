# Assembles files under $tree, the content of one layer. `root` is the CUDA root.
set -eu
# BuildKit copies equal files from its cache, whatever their times: so the name has the time.
tree=/tree-$SOURCE_DATE_EPOCH

# unpack FILE PATTERN...: out of one of the stage's packages, which may lack what `?` is before
unpack() {
  file=$1; shift
  mkdir -p /unpacked
  for pattern; do
    shift
    case $pattern in
      \?*) extract "$file" "${pattern#?}" 2>/dev/null || : ;;
      *) set -- "$@" "$pattern" ;;
    esac
  done
  extract "$file" "$@"
}

extract() {
  file=$1; shift
  case $file in
    *.deb) for pattern; do set -- "$@" "./$pattern"; shift; done
           dpkg-deb --fsys-tarfile "/files/$file" | tar -x -C /unpacked --wildcards "$@" ;;
{% if installer == "rpm" %}
    *.rpm) for pattern; do set -- "$@" "./$pattern" "./$pattern/*"; shift; done
           (cd /unpacked && rpm2cpio "/files/$file" | cpio -idm --quiet "$@") ;;
{% endif %}
    *.whl) unzip -q "/files/$file" "$@" -d /unpacked ;;
    *.tar.xz) for pattern; do set -- "$@" "*/$pattern"; shift; done
              tar -x -J -f "/files/$file" -C /unpacked --strip-components=1 --wildcards "$@" ;;
  esac
}

destination() { case $1 in /*) echo "$tree$1" ;; *) echo "$tree$root/$1" ;; esac; }

# place DIRECTORY PATTERN...: what was unpacked, into the root or an absolute directory
place() {
  to=$(destination "$1"); shift
  mkdir -p "$to"
  for pattern; do
    (
      cd /unpacked
      case $pattern in \?*) set -- ${pattern#?}; [ -e "$1" ] || exit 0 ;; *) set -- $pattern ;; esac
      cp -al "$@" "$to/"
    )
  done
}

clear_unpacked() { rm -rf /unpacked; }

drop() { for pattern; do rm -rf "$tree$root/"$pattern; done; }

link() { to=$(destination "$1"); mkdir -p "${to%/*}"; ln -sfn "$2" "$to"; }

# expose TARGET SEARCHED DESCRIBED: the libraries of CUDA's target, where linkers search without
# being told, also by the names that programs load them by; and to pkg-config. What the driver has
# is under such a name in SEARCHED alone, where no loader looks: programs must not get a stub.
expose() {
  libraries=$root/targets/$1/lib; searched=$2; described=$3
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
  release=${root##*-}; library=${3#lib}
  case $library in cublas*) version=${release%%.*} ;; *) version=$release ;; esac
  cat >"$tree$described/$library-$version.pc" <<PC
cudaroot=$root
libdir=\${cudaroot}${2#"$root"}
includedir=\${cudaroot}/targets/$1/include

Name: $library
Description: $library of CUDA $release
Version: $version
Libs: -L\${libdir} -l$library
Cflags: -I\${includedir}
PC
}

# profile: the compiler's configuration, from standard input
profile() { cat >"$tree$root/bin/nvcc.profile"; }

# Owners, modes and times that depend on nothing but the files' names.
finish() {
  chown -R 0:0 "$tree"
  find "$tree" -type d -exec chmod 755 {} +
  find "$tree" -type f -exec chmod 644 {} +
  for programs in "$tree$root/bin" "$tree$root/nvvm/bin"; do
    [ ! -d "$programs" ] || find "$programs" -maxdepth 1 -type f ! -name '*.profile' -exec chmod 755 {} +
  done
  find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}
