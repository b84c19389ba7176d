#include <thrust/host_vector.h>
#include <thrust/sort.h>
extern "C" int first() {
  thrust::host_vector<int> v(3, 1);
  thrust::sort(v.begin(), v.end());
  return v[0];
}
