int cuInit(unsigned);
int uses(void) { return cuInit(0); }
