int is_there(void);
int main(void) { return !is_there(); }
