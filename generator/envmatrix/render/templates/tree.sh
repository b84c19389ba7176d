# Assembles files under $tree, the content of one layer. `root` is the CUDA root.
set -eu
# BuildKit copies equal files from its cache, whatever their times: so the name has the time.
tree=/tree-$SOURCE_DATE_EPOCH

# unpack FILE PATTERN...: out of one of the stage's packages
unpack() {
  file=$1; shift
  mkdir -p /unpacked
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
  for pattern; do (cd /unpacked && cp -al $pattern "$to/"); done
}

clear_unpacked() { rm -rf /unpacked; }

drop() { for pattern; do rm -rf "$tree$root/"$pattern; done; }

link() { to=$(destination "$1"); mkdir -p "${to%/*}"; ln -sfn "$2" "$to"; }

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
