# Installs the stage's packages, makes the links that the arguments name (`cc=gcc-12`), and
# leaves nothing that differs from one build to the next.
set -eu
export DEBIAN_FRONTEND=noninteractive

{% if on_image %}
# The image may have all that is asked for, and its own files may be younger than the epoch: they
# stay as they are.
start=$(date +%s)
{% endif %}
{% if on_image %}[ -z "$(ls /files)" ] || {% endif %}apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0 /files/*.deb

for pair; do ln -s{{ "f" if on_image }} "/usr/bin/${pair#*=}" "/usr/local/bin/${pair%%=*}"; done

rm -rf /var/log/dpkg.log /var/log/alternatives.log /var/log/apt /var/cache/apt/*.bin \
  /var/lib/apt/lists/* /var/lib/apt/extended_states /var/cache/ldconfig/aux-cache \
  /var/cache/debconf/*-old /var/lib/dpkg/*-old
[ ! -e /etc/machine-id ] || : >/etc/machine-id
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /files -o -path /scripts \
  -o -path /etc/hosts -o -path /etc/resolv.conf -o -path /etc/hostname \) -prune -o \
  -newermt "@{{ "$start" if on_image else "$SOURCE_DATE_EPOCH" }}" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
