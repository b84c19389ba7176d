int version(void);
int main(void) { return version() ? 0 : 1; }
