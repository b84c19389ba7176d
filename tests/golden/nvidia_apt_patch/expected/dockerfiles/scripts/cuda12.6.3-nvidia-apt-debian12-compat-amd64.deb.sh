. /scripts/tree.sh
take cuda-compat-12-6_1.0-1_amd64.deb compat 'usr/local/cuda-*/compat/*'
finish
