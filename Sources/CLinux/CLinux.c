// All of CLinux is inline in its header; this file is what makes it a target.
#include "CLinux.h"
