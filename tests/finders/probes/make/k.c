int cuInit(unsigned);
int two(void) { return cuInit(0) ? 2 : 3; }
