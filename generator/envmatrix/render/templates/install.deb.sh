# Installs the stage's packages, makes the links that the arguments name (`cc=gcc-12`), and
# leaves nothing that differs from one build to the next.
set -eu
export DEBIAN_FRONTEND=noninteractive

apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0 /files/*.deb

for pair; do ln -s "/usr/bin/${pair#*=}" "/usr/local/bin/${pair%%=*}"; done

rm -rf /var/log/dpkg.log /var/log/alternatives.log /var/log/apt /var/cache/apt/*.bin \
  /var/lib/apt/lists/* /var/lib/apt/extended_states /var/cache/ldconfig/aux-cache \
  /var/cache/debconf/*-old /var/lib/dpkg/*-old
[ ! -e /etc/machine-id ] || : >/etc/machine-id
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /files -o -path /scripts \
  -o -path /etc/hosts -o -path /etc/resolv.conf -o -path /etc/hostname \) -prune -o \
  -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
