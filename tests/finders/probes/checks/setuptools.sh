# setuptools with Python.h, CUDA_HOME, CUDA_PATH and CUDACXX
. "$HERE/lib.sh"
cp "$HERE"/kernel/* .
python3 setup.py -q build_ext
built=$(find build -name 'twice*.so')
of_machine "$built"
case $built in *-"$machine"-linux-gnu.so) ;; *) echo "$built has another suffix"; exit 1 ;; esac
