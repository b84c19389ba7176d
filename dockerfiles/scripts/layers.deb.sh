# Divides what a step installs into layers, so that a change of one package changes few of them. Sourced
# before the step; at its end `divide NAME...` makes below $layers
#   NAME-EPOCH/    the files of that package, and what dpkg knows of it alone
#   others-EPOCH/  those of all other packages
#   rest-EPOCH/    everything else that changed: dpkg's state, links, configuration
#   removed        the names of what is gone
# The names have the epoch because BuildKit copies equal files from its cache, whatever their times, and
# of a path it compares the last name alone. What changed has a ctime after `start`, which no program
# can set back. BuildKit makes and removes hard links to the files of layers at any time, so a new
# ctime alone means nothing: either the file is another one, by inode, size, time, mode or owner, or
# its contents were written, which install.sh tells by `written`.
export LC_ALL=C
layers=/layers
lists=$layers/lists
export written=$lists/written
mkdir -p "$lists"
: >"$written"
start=@$(date +%s.%N)

# every EXPRESSION...: prints the names of all files of the image for which find's expression is true,
# each with a tab and its state
every() {
  find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /files -o -path /scripts \
    -o -path "$layers" -o -path /etc/hosts -o -path /etc/resolv.conf -o -path /etc/hostname \) \
    -prune -o "$@" -printf '%p\t%i %s %T@ %m %U %G\n' | sort
}

# names: the names of the files that are read with their states
names() { cut -f 1 | sort -u; }

every >"$lists/before"

divide() {
  every >"$lists/after"
  names <"$lists/before" >"$lists/names-before"
  names <"$lists/after" | comm -23 "$lists/names-before" - >"$layers/removed"
  sort -u "$written" >"$lists/names-written"
  every \( ! -type d -o -empty \) -newerct "$start" >"$lists/touched"
  {
    comm -23 "$lists/touched" "$lists/before" | names
    names <"$lists/touched" | comm -12 - "$lists/names-written"
  } | sort -u >"$lists/changed"
  for name in "$@" others; do : >"$lists/of-$name"; done
  native=$(dpkg --print-architecture)
  grep '^/var/lib/dpkg/info/.*\.list$' "$lists/changed" | while read -r list; do
    package=${list##*/}; package=${package%.list}; name=${package%":$native"}
    case " $* " in *" $name "*) ;; *) name=others ;; esac
    canonical <"$list" >>"$lists/of-$name"
    for file in "${list%.list}".*; do
      case ${file#"${list%.list}".} in *.*) ;; *) echo "$file" >>"$lists/of-$name" ;; esac
    done
  done
  for name in "$@" others; do
    sort -u "$lists/of-$name" | comm -12 - "$lists/changed" | place "$name"
  done
  sort -u "$lists"/of-* | comm -13 - "$lists/changed" | place rest
}

# canonical: the paths of packages, without the links of the root that Debian's /usr merge made
canonical() {
  if [ -h /lib ]; then sed -E 's#^/(bin|sbin|lib[^/]*)(/|$)#/usr/\1\2#'; else cat; fi
}

# place NAME: links the files that are read into a layer, with the directories around them
place() {
  layer=$layers/$1-$SOURCE_DATE_EPOCH
  mkdir -p "$layer"
  (cd / && xargs -r -d '\n' cp -al --parents -t "$layer")
  find "$layer" -type d -exec touch -d "@$SOURCE_DATE_EPOCH" {} +
}
