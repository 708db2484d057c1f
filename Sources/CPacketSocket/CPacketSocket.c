// All of it is inline in its header.
#include "CPacketSocket.h"
