# install.sh [--over-image] [NAME=PROGRAM]...: installs the stage's packages, makes links to programs
# (`cc=gcc`), and leaves nothing that differs from one build to the next. rpm writes SOURCE_DATE_EPOCH
# into its database instead of the time since 4.18. The files of an image that others made may be
# younger than the epoch, and stay as they are.
set -eu

since=$SOURCE_DATE_EPOCH
[ "${1:-}" != --over-image ] || { since=$(date +%s); shift; }
(
  set -- /files/*.rpm
  [ ! -e "$1" ] || rpm --upgrade --oldpackage --excludedocs --nosignature "$@"
)

for pair; do
  case ${pair#*=} in /*) program=${pair#*=} ;; *) program=/usr/bin/${pair#*=} ;; esac
  ln -sf "$program" "/usr/local/bin/${pair%%=*}"
done

rm -rf /var/log/dnf* /var/log/hawkey.log /var/log/zypp /var/log/zypper.log /var/cache/dnf \
  /var/cache/zypp /var/lib/dnf/history* /var/cache/ldconfig/aux-cache /var/lib/rpm/__db.* \
  /var/lib/rpm/.rpm.lock /usr/lib/sysimage/rpm/.rpm.lock /var/lib/rpm/rpmdb.sqlite-* \
  /usr/lib/sysimage/rpm/rpmdb.sqlite-*
[ ! -e /etc/machine-id ] || : >/etc/machine-id
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /files -o -path /scripts \
  -o -path /etc/hosts -o -path /etc/resolv.conf -o -path /etc/hostname \) -prune -o \
  -newermt "@$since" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
