# Makes an image of the layers of packages what the step was that they were divided from.
set -eu
cp -a "/layers/rest-$SOURCE_DATE_EPOCH/." /
while read -r path; do
  rm -rf "$path"
  [ ! -d "${path%/*}/" ] || touch -d "@$SOURCE_DATE_EPOCH" "${path%/*}/"
done </layers/removed
