int uses(void);
int main(void) { return uses() ? 0 : 1; }
