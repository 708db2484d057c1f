// What the lab needs of GNU that Swift's Glibc lacks, bound by symbol (CLinux.h says why).
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

extern int lab_gnu_setns(int, int) __asm__("setns");

// Moves the calling thread, and no other, into a network namespace (CLONE_NEWNET). The result, or a negative error number.
static inline long lab_enter_namespace(int fd) { return lab_gnu_setns(fd, 0x40000000) < 0 ? -errno : 0; }

extern int lab_gnu_ioctl(int, unsigned long, ...) __asm__("ioctl");

// A TUN device of this name in the network namespace of the calling thread (linux/if_tun.h: TUNSETIFF; IFF_TUN, IFF_NO_PI).
// Its descriptor, or a negative error number.
static inline int lab_open_tun(const char *name) {
  struct { char name[16]; short flags; char rest[22]; } request;
  memset(&request, 0, sizeof request);
  strncpy(request.name, name, sizeof request.name - 1);
  request.flags = 0x0001 | 0x1000;
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return -errno;
  if (lab_gnu_ioctl(fd, 0x400454caUL, &request) < 0) {
    int error = errno;
    close(fd);
    return -error;
  }
  return fd;
}
