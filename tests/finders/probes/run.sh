# run.sh DIRECTORY: each check in a directory of its own below DIRECTORY, where its log and its
# status stay. 77 is the status of one that is for other images.
set -u
found=$1
here=$(cd "$(dirname "$0")" && pwd)
rm -rf "$found"
mkdir -p "$found"
for check in "$here"/checks/*.sh; do
  name=$(basename "$check" .sh)
  case " ${CHECKS:-$name} " in *" $name "*) ;; *) continue ;; esac
  mkdir "$found/$name"
  (cd "$found/$name" && HERE=$here timeout "${LIMIT:-1200}" sh -eu "$check") >"$found/$name.log" 2>&1
  echo $? >"$found/$name.status"
done
