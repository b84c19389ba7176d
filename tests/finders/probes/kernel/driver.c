int cuInit(unsigned); int nvmlInit_v2(void); int cudaRuntimeGetVersion(int*);
int main(void) { int v; return cuInit(0) + nvmlInit_v2() + cudaRuntimeGetVersion(&v); }
