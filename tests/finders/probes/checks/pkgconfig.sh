# pkg-config: CUDA's runtime, zlib, and nothing of another machine
. "$HERE/lib.sh"
release=$(echo "$CUDA_VERSION" | cut -d. -f1,2)
cp "$HERE"/kernel/* .
"$CC" -o zlib "$HERE/zlib/zlib.c" $(pkg-config --cflags --libs zlib)
echo 'int main(void) { int v; return cudaRuntimeGetVersion(&v); }' >runtime.c
"$CC" -include cuda_runtime_api.h -o runtime runtime.c $(pkg-config --cflags --libs "cudart-$release")
of_machine zlib runtime
if [ "$machine" != "$(uname -m)" ]; then
  ! pkg-config --variable=libdir $(pkg-config --list-all | cut -d' ' -f1) | grep "$(uname -m)-linux"
fi
