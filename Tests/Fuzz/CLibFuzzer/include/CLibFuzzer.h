// libFuzzer's own entry, which no header of the toolchain declares.
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerRunDriver(int *count, char ***words, int (*one)(const uint8_t *start, size_t count));
