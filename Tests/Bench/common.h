// What the three small C programs of the benchmark share: non-blocking TCP sockets on the
// loopback address, one epoll set, and ending with a sentence when the machine refuses something.
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_EVENTS = 512, MAX_DESCRIPTORS = 65536 };

__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *format, ...) {
  int error = errno;
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fprintf(stderr, " (%s)\n", strerror(error));
  exit(1);
}

static inline struct sockaddr_in loopback(int port) {
  return (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

static inline void set_no_delay(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static inline int listen_on(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int on = 1;
  struct sockaddr_in address = loopback(port);
  if (fd < 0) die("cannot open a socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0)
    die("cannot listen on port %d", port);
  return fd;
}

static inline int new_epoll(void) {
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) die("cannot make an epoll set");
  signal(SIGPIPE, SIG_IGN);
  return epoll;
}

static inline void watch(int epoll, int operation, int fd, uint32_t interest) {
  struct epoll_event event = {.events = interest, .data.fd = fd};
  if (epoll_ctl(epoll, operation, fd, &event) < 0) die("cannot watch descriptor %d", fd);
}

static inline int64_t monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

#endif
