// What Swift's Glibc module lacks: GNU and Linux calls as static inline functions, and constants that
// Swift cannot import from their macros.
//
// Every call answers with its result or with a negative error number, and retries on EINTR where a
// retry is harmless; so Swift never reads `errno`, which another call may have changed by then.
// _GNU_SOURCE is not defined here, because the types would differ from those of the Glibc module and
// break its import. Functions hidden behind it are declared under a name of our own and bound to the
// libc symbol with an asm label.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef SO_REUSEPORT
#define SO_REUSEPORT 15
#endif
#ifndef TCP_USER_TIMEOUT
#define TCP_USER_TIMEOUT 18
#endif
#ifndef TCP_NOTSENT_LOWAT
#define TCP_NOTSENT_LOWAT 25
#endif

// GNU functions, bound by symbol.
extern int linux_gnu_accept4(int, void *, socklen_t *, int) __asm__("accept4");
extern ssize_t linux_gnu_preadv2(int, const struct iovec *, int, off_t, int) __asm__("preadv2");
extern int linux_gnu_fallocate(int, int, off_t, off_t) __asm__("fallocate");
extern int linux_gnu_pthread_setname_np(pthread_t, const char *) __asm__("pthread_setname_np");
extern int linux_gnu_clockjoin(pthread_t, void **, clockid_t, const struct timespec *) __asm__("pthread_clockjoin_np");
extern int linux_gnu_closefrom(posix_spawn_file_actions_t *, int) __asm__("posix_spawn_file_actions_addclosefrom_np");
extern void *linux_gnu_memmem(const void *, size_t, const void *, size_t) __asm__("memmem");

// The result of a call, or its negative error number.
#define LINUX_RESULT(call)            \
  do {                                \
    long result_;                     \
    do {                              \
      result_ = (long)(call);         \
    } while (result_ < 0 && errno == EINTR); \
    return result_ < 0 ? -errno : result_; \
  } while (0)

#define LINUX_RESULT_ONCE(call)       \
  do {                                \
    long result_ = (long)(call);      \
    return result_ < 0 ? -errno : result_; \
  } while (0)

// MARK: sockets

static inline long linux_stream_socket(int family) {
  LINUX_RESULT_ONCE(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

static inline long linux_bind(int fd, const struct sockaddr *address, socklen_t length) {
  LINUX_RESULT_ONCE(bind(fd, address, length));
}

static inline long linux_listen(int fd, int backlog) { LINUX_RESULT_ONCE(listen(fd, backlog)); }

// Not retried on EINTR: the attempt goes on in the background, and asking again answers EALREADY.
static inline long linux_connect(int fd, const struct sockaddr *address, socklen_t length) {
  LINUX_RESULT_ONCE(connect(fd, address, length));
}

static inline long linux_accept(int fd, struct sockaddr_storage *peer, socklen_t *length) {
  *length = sizeof *peer;
  LINUX_RESULT(linux_gnu_accept4(fd, peer, length, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

static inline long linux_recv(int fd, void *bytes, size_t count, int flags) {
  LINUX_RESULT(recv(fd, bytes, count, flags));
}

static inline long linux_send(int fd, const void *bytes, size_t count, int more) {
  LINUX_RESULT(send(fd, bytes, count, MSG_NOSIGNAL | (more ? MSG_MORE : 0)));
}

static inline long linux_sendmsg(int fd, const struct iovec *parts, size_t count, int more) {
  struct msghdr message = {0};
  message.msg_iov = (struct iovec *)parts;
  message.msg_iovlen = count;
  LINUX_RESULT(sendmsg(fd, &message, MSG_NOSIGNAL | (more ? MSG_MORE : 0)));
}

static inline long linux_send2(int fd, const void *a, size_t an, const void *b, size_t bn, int more) {
  struct iovec parts[2] = {{(void *)a, an}, {(void *)b, bn}};
  return linux_sendmsg(fd, parts, 2, more);
}

static inline long linux_send3(int fd, const void *a, size_t an, const void *b, size_t bn, const void *c,
                               size_t cn, int more) {
  struct iovec parts[3] = {{(void *)a, an}, {(void *)b, bn}, {(void *)c, cn}};
  return linux_sendmsg(fd, parts, 3, more);
}

static inline long linux_sendfile(int to, int from, off_t offset, size_t count) {
  LINUX_RESULT(sendfile(to, from, &offset, count));
}

static inline long linux_shutdown(int fd, int how) { LINUX_RESULT_ONCE(shutdown(fd, how)); }

/* What the kernel knows of a TCP connection, as many bytes as it has. */
static inline long linux_tcp_info(int fd, void *bytes, size_t capacity) {
  socklen_t length = capacity;
  long result = getsockopt(fd, IPPROTO_TCP, TCP_INFO, bytes, &length);
  return result < 0 ? -errno : (long)length;
}

/* A number that no other socket of this machine has; 0 where the kernel gives none. */
static inline uint64_t linux_socket_cookie(int fd) {
  uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif
  return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) < 0 ? 0 : cookie;
}

/* Bytes in the send queue that the peer has not acknowledged; negative if that cannot be told. */
static inline long linux_unconfirmed(int fd) {
  int count = 0;
  return ioctl(fd, TIOCOUTQ, &count) < 0 ? -1 : count;
}

static inline long linux_set_option(int fd, int level, int name, int value) {
  LINUX_RESULT_ONCE(setsockopt(fd, level, name, &value, sizeof value));
}

static inline long linux_get_option(int fd, int level, int name, int *value) {
  socklen_t length = sizeof *value;
  LINUX_RESULT_ONCE(getsockopt(fd, level, name, value, &length));
}

static inline long linux_set_linger(int fd, int seconds) {
  struct linger linger = {1, seconds};
  LINUX_RESULT_ONCE(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
}

static inline long linux_getsockname(int fd, struct sockaddr_storage *address, socklen_t *length) {
  *length = sizeof *address;
  LINUX_RESULT_ONCE(getsockname(fd, (struct sockaddr *)address, length));
}

static inline long linux_getpeername(int fd, struct sockaddr_storage *address, socklen_t *length) {
  *length = sizeof *address;
  LINUX_RESULT_ONCE(getpeername(fd, (struct sockaddr *)address, length));
}

// MARK: descriptors that tell

// close(2) releases the descriptor even when it answers EINTR, so it must not be called again.
static inline long linux_close(int fd) { LINUX_RESULT_ONCE(close(fd)); }

static inline long linux_duplicate(int fd) { LINUX_RESULT_ONCE(fcntl(fd, F_DUPFD_CLOEXEC, 3)); }

static inline long linux_epoll_create(void) { LINUX_RESULT_ONCE(epoll_create1(EPOLL_CLOEXEC)); }

static inline long linux_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t token) {
  struct epoll_event event = {0};
  event.events = events;
  event.data.u64 = token;
  LINUX_RESULT_ONCE(epoll_ctl(epoll, operation, fd, &event));
}

static inline long linux_epoll_wait(int epoll, struct epoll_event *events, int count, int milliseconds) {
  LINUX_RESULT_ONCE(epoll_wait(epoll, events, count, milliseconds));
}

static inline long linux_eventfd(void) { LINUX_RESULT_ONCE(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

static inline long linux_eventfd_signal(int fd) {
  uint64_t one = 1;
  LINUX_RESULT(write(fd, &one, sizeof one));
}

static inline long linux_eventfd_clear(int fd) {
  uint64_t count;
  LINUX_RESULT(read(fd, &count, sizeof count));
}

static inline long linux_signalfd(const sigset_t *signals) {
  LINUX_RESULT_ONCE(signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

// Whether a signal is ignored by this process; its handler is a union, which Swift does not read.
static inline int linux_signal_is_ignored(int signal) {
  struct sigaction action;
  return sigaction(signal, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

// The number of the next signal, or a negative error number.
static inline long linux_signalfd_read(int fd) {
  struct signalfd_siginfo info;
  ssize_t count;
  do {
    count = read(fd, &info, sizeof info);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return -errno;
  return count == (ssize_t)sizeof info ? (long)info.ssi_signo : -EIO;
}

// MARK: files

static inline long linux_openat(int directory, const char *path, int flags, mode_t mode) {
  LINUX_RESULT(openat(directory, path, flags | O_CLOEXEC, mode));
}

static inline long linux_pread(int fd, void *bytes, size_t count, off_t offset) {
  LINUX_RESULT(pread(fd, bytes, count, offset));
}

static inline long linux_pwrite(int fd, const void *bytes, size_t count, off_t offset) {
  LINUX_RESULT(pwrite(fd, bytes, count, offset));
}

static inline long linux_pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
  LINUX_RESULT(pwritev(fd, parts, count, offset));
}

static inline long linux_write(int fd, const void *bytes, size_t count) {
  LINUX_RESULT(write(fd, bytes, count));
}

static inline long linux_read(int fd, void *bytes, size_t count) { LINUX_RESULT(read(fd, bytes, count)); }

static inline long linux_fdatasync(int fd) { LINUX_RESULT(fdatasync(fd)); }
static inline long linux_fsync(int fd) { LINUX_RESULT(fsync(fd)); }
static inline long linux_ftruncate(int fd, off_t length) { LINUX_RESULT(ftruncate(fd, length)); }
static inline long linux_flock(int fd, int operation) { LINUX_RESULT(flock(fd, operation)); }
static inline long linux_fstat(int fd, struct stat *status) { LINUX_RESULT(fstat(fd, status)); }

// FALLOC_FL_KEEP_SIZE (1): the blocks are reserved, the length stays.
static inline long linux_allocate(int fd, off_t offset, off_t length, int keep_size) {
  LINUX_RESULT(linux_gnu_fallocate(fd, keep_size ? 1 : 0, offset, length));
}

struct linux_cachestat_range {
  uint64_t offset, length;
};

struct linux_cachestat {
  uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

// cachestat(2), Linux 6.5; the number is the same on every architecture.
static inline long linux_cachestat(int fd, uint64_t offset, uint64_t length, struct linux_cachestat *result) {
  struct linux_cachestat_range range = {offset, length};
  LINUX_RESULT(syscall(451, fd, &range, result, 0));
}

// One byte at `offset`, only if that takes no disk access (RWF_NOWAIT, 8); else -EAGAIN.
static inline long linux_probe_cached(int fd, off_t offset) {
  char byte;
  struct iovec part = {&byte, 1};
  LINUX_RESULT(linux_gnu_preadv2(fd, &part, 1, offset, 8));
}

// Whether all of these bytes are in the page cache, asked of a mapping (mincore(2)): 1 or 0. For file systems that lie
// over another one and have no pages of their own, where the calls above find nothing; a mapping is of the file below.
static inline long linux_mapped_cached(int fd, off_t offset, size_t length) {
  long page = sysconf(_SC_PAGESIZE);
  off_t start = offset - offset % page;
  size_t total = length + (size_t)(offset - start);
  unsigned char *bytes = (unsigned char *)mmap(NULL, total, PROT_READ, MAP_SHARED, fd, start);
  if (bytes == MAP_FAILED) return -errno;
  unsigned char pages[1024];
  long result = 1;
  for (size_t done = 0; done < total && result == 1; done += sizeof pages * page) {
    size_t part = total - done;
    if (part > sizeof pages * page) part = sizeof pages * page;
    if (mincore(bytes + done, part, pages) < 0) {
      result = -errno;
      break;
    }
    for (size_t i = 0; i < (part + page - 1) / page; i++)
      if (!(pages[i] & 1)) result = 0;
  }
  munmap(bytes, total);
  return result;
}

// MARK: clocks and threads

static inline int64_t linux_clock(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64_t linux_monotonic_coarse(void) { return linux_clock(CLOCK_MONOTONIC_COARSE); }
static inline int64_t linux_monotonic(void) { return linux_clock(CLOCK_MONOTONIC); }
static inline int64_t linux_wall_coarse(void) { return linux_clock(CLOCK_REALTIME_COARSE); }
static inline int64_t linux_wall(void) { return linux_clock(CLOCK_REALTIME); }

// Until a time of the monotonic clock, in nanoseconds.
static inline int linux_join_until(pthread_t thread, int64_t time) {
  struct timespec end = {.tv_sec = time / 1000000000, .tv_nsec = time % 1000000000};
  return linux_gnu_clockjoin(thread, 0, CLOCK_MONOTONIC, &end);
}

static inline void linux_name_thread(const char *name) { linux_gnu_pthread_setname_np(pthread_self(), name); }

// How many processors this thread may run on: what taskset and cpusets leave, not what the machine has.
static inline int linux_processor_count(void) {
  unsigned long mask[128];
  long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
  int count = 0;
  for (long i = 0; i < bytes / (long)sizeof mask[0]; i++) count += __builtin_popcountl(mask[i]);
  return count > 0 ? count : 1;
}

// Makes effective what this thread is permitted of `wanted`, a bit for each capability (capabilities(7)); what was effective
// stays so. Answers with what is effective then.
static inline int64_t linux_raise_capabilities(uint64_t wanted) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{0}};
  if (syscall(SYS_capget, &header, data) < 0) return -errno;
  for (int i = 0; i < 2; i++) data[i].effective |= data[i].permitted & (uint32_t)(wanted >> (32 * i));
  if (syscall(SYS_capset, &header, data) < 0) return -errno;
  return (int64_t)((uint64_t)data[1].effective << 32 | data[0].effective);
}

// The process to be started has no descriptor from this one on. 0, or a negative error number.
static inline int linux_close_from(posix_spawn_file_actions_t *actions, int first) {
  return -linux_gnu_closefrom(actions, first);
}

// What answers in the kernel's place on this thread, in debug builds; NULL otherwise (Platform/StandIn.swift).
void *linux_stand_in(void);
void linux_set_stand_in(void *);

// MARK: memory

// Where `needle` begins in `haystack`, or -1.
static inline long linux_find(const void *haystack, size_t count, const void *needle, size_t length) {
  const char *found = (const char *)linux_gnu_memmem(haystack, count, needle, length);
  return found ? found - (const char *)haystack : -1;
}

// MARK: constants

static const int LINUX_TCP_USER_TIMEOUT = TCP_USER_TIMEOUT;
static const int LINUX_TCP_NOTSENT_LOWAT = TCP_NOTSENT_LOWAT;
static const int LINUX_SO_REUSEPORT = SO_REUSEPORT;
static const uint32_t LINUX_EPOLLIN = EPOLLIN;
static const uint32_t LINUX_EPOLLOUT = EPOLLOUT;
static const uint32_t LINUX_EPOLLRDHUP = EPOLLRDHUP;
static const uint32_t LINUX_EPOLLERR = EPOLLERR;
static const uint32_t LINUX_EPOLLHUP = EPOLLHUP;
static const uint32_t LINUX_EPOLLEXCLUSIVE = EPOLLEXCLUSIVE;
