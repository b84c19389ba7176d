# Config packages of CCCL, Thrust, CUB and libcudacxx
. "$HERE/lib.sh"
configure cccl
ninja
of_machine libsorts.so
