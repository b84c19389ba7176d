int cuInit(unsigned int flags);
int is_there(void) { return cuInit(0) == 0; }
