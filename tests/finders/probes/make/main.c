int two(void);
int main(void) { return two() == 2 ? 0 : 1; }
