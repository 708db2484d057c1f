// All of CLinux is inline in its header, but for what has to be one variable per thread.
#include "CLinux.h"

static _Thread_local void *stand_in;

void *linux_stand_in(void) { return stand_in; }
void linux_set_stand_in(void *value) { stand_in = value; }
