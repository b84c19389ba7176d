# find_package(CUDAToolkit), every imported target of what is installed
. "$HERE/lib.sh"
configure toolkit
ninja -k 0
of_machine use_*
