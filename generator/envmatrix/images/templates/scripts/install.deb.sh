# install.sh [--over-image] [NAME=PROGRAM]...: installs the stage's packages, makes links to programs
# (`cc=gcc-12`), and leaves nothing that differs from one build to the next. An image that others made
# may have all that is asked for; its own files may be younger than the epoch, and stay as they are.
# dpkg leaves out what /scripts/omitted says, also when the image's user installs packages.
set -eu
export DEBIAN_FRONTEND=noninteractive

since=$SOURCE_DATE_EPOCH
[ "${1:-}" != --over-image ] || { since=$(date +%s); shift; }
cmp -s /scripts/omitted /etc/dpkg/dpkg.cfg.d/omitted ||
  install -D -m 644 /scripts/omitted /etc/dpkg/dpkg.cfg.d/omitted
[ -z "$(ls /files)" ] || apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0 /files/*.deb

for pair; do ln -sf "/usr/bin/${pair#*=}" "/usr/local/bin/${pair%%=*}"; done

rm -rf /var/log/dpkg.log /var/log/alternatives.log /var/log/apt /var/cache/apt/*.bin \
  /var/lib/apt/lists/* /var/lib/apt/extended_states /var/cache/ldconfig/aux-cache \
  /var/cache/debconf/*-old /var/lib/dpkg/*-old
[ ! -e /etc/machine-id ] || : >/etc/machine-id
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /files -o -path /scripts \
  -o -path /etc/hosts -o -path /etc/resolv.conf -o -path /etc/hostname \) -prune -o \
  -newermt "@$since" -print -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} + >"${written:-/dev/null}"
