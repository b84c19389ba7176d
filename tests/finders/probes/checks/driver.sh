# CUDA::cuda_driver in a shared library that a program links with
. "$HERE/lib.sh"
configure driver
ninja
of_machine program libuses.so
# Only the driver itself may be what the program finds when it runs.
! readelf -d program libuses.so | grep -E 'R(UN)?PATH.*stubs'
