# find_package(CUDA), of CMake before 3.27
. "$HERE/lib.sh"
configure legacy
ninja
of_machine program libkernel.so
