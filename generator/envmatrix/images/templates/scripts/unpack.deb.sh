for file in /files/*.deb; do dpkg-deb -x "$file" / || exit; done
