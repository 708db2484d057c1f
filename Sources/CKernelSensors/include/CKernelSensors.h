// Netlink sockets (netlink(7)), perf events (perf_event_open(2)) and network namespaces as static inline functions.
// Apart from CLinux, because nothing but the kernel sensors needs any of it.
//
// The ring of a perf event is one page of bookkeeping and then a power of two of data. The kernel writes `data_head`,
// we write `data_tail`; both only grow. A record may run over the end of the ring, so it is copied out in two pieces.
#pragma once

#include <errno.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

// GNU functions, bound by symbol (CLinux.h says why).
extern int kernel_gnu_setns(int, int) __asm__("setns");

// The result of a call, or its negative error number.
#define KERNEL_RESULT(call)                  \
  do {                                       \
    long result_;                            \
    do {                                     \
      result_ = (long)(call);                \
    } while (result_ < 0 && errno == EINTR); \
    return result_ < 0 ? -errno : result_;   \
  } while (0)

// Moves the calling thread, and no other, into a network namespace. CLONE_NEWNET is 0x40000000.
static inline long kernel_enter_namespace(int fd) { KERNEL_RESULT(kernel_gnu_setns(fd, 0x40000000)); }

// MARK: netlink

// A socket of the netfilter family (12), bound, with a number of the kernel's choice.
static inline long kernel_open_netlink(void) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 12);
  if (fd < 0) return -errno;
  struct sockaddr_nl address;
  memset(&address, 0, sizeof address);
  address.nl_family = AF_NETLINK;
  if (bind(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
    int error = errno;
    close(fd);
    return -error;
  }
  return fd;
}

// No call on the socket takes longer than that.
static inline long kernel_bound_time(int fd, long milliseconds) {
  struct timeval time = {milliseconds / 1000, milliseconds % 1000 * 1000};
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time) < 0) return -errno;
  KERNEL_RESULT(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time));
}

// What is queued for the socket may take so many bytes. Beyond the system's limit with CAP_NET_ADMIN only.
static inline long kernel_set_buffer(int fd, int bytes) {
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) == 0) return 0;
  KERNEL_RESULT(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes));
}

static inline long kernel_join_group(int fd, int group) {
  KERNEL_RESULT(setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group));
}

static inline long kernel_send(int fd, const void *bytes, size_t count) {
  struct sockaddr_nl address;
  memset(&address, 0, sizeof address);
  address.nl_family = AF_NETLINK;
  KERNEL_RESULT(sendto(fd, bytes, count, 0, (const struct sockaddr *)&address, sizeof address));
}

// One datagram; 0 for one that is not from the kernel. The answer is larger than `capacity` when it was cut.
static inline long kernel_receive(int fd, void *bytes, size_t capacity, int waits) {
  struct sockaddr_nl address;
  socklen_t length = sizeof address;
  long result;
  do {
    result = recvfrom(fd, bytes, capacity, MSG_TRUNC | (waits ? 0 : MSG_DONTWAIT), (struct sockaddr *)&address, &length);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return -errno;
  return length == sizeof address && address.nl_pid != 0 ? 0 : result;
}

// MARK: perf events

// Every occurrence of a tracepoint on one processor, whoever causes it: when, where and the raw record.
static inline long kernel_open_tracepoint(uint64_t id, int processor) {
  struct perf_event_attr attributes;
  memset(&attributes, 0, sizeof attributes);
  attributes.type = PERF_TYPE_TRACEPOINT;
  attributes.size = sizeof attributes;
  attributes.config = id;
  attributes.sample_period = 1;
  attributes.sample_type = PERF_SAMPLE_TIME | PERF_SAMPLE_CPU | PERF_SAMPLE_RAW;
  attributes.wakeup_events = 1;
  attributes.disabled = 1;
  attributes.use_clockid = 1;
  attributes.clockid = 1; // CLOCK_MONOTONIC
  KERNEL_RESULT(syscall(SYS_perf_event_open, &attributes, -1, processor, -1, PERF_FLAG_FD_CLOEXEC));
}

static inline long kernel_set_filter(int fd, const char *filter) {
  KERNEL_RESULT(ioctl(fd, PERF_EVENT_IOC_SET_FILTER, filter));
}

// Its records go into the ring of `other`, which is of the same processor.
static inline long kernel_share_ring(int fd, int other) {
  KERNEL_RESULT(ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, other));
}

static inline long kernel_enable(int fd) { KERNEL_RESULT(ioctl(fd, PERF_EVENT_IOC_ENABLE, 0)); }

static inline long kernel_page_size(void) { return sysconf(_SC_PAGESIZE); }

static inline long kernel_map_ring(int fd, size_t size, void **memory) {
  void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return -errno;
  *memory = mapped;
  return 0;
}

static inline void kernel_unmap_ring(void *memory, size_t size) { munmap(memory, size); }

// Takes the next record out of a ring of `size` bytes behind one page of `page`. Answers with its length, 0 when there
// is none; one that does not fit into `capacity`, or cannot be one, empties the ring and is answered with -EBADMSG.
static inline long kernel_take_record(void *memory, size_t page, size_t size, void *record, size_t capacity) {
  struct perf_event_mmap_page *control = (struct perf_event_mmap_page *)memory;
  const uint8_t *data = (const uint8_t *)memory + page;
  uint64_t head = __atomic_load_n(&control->data_head, __ATOMIC_ACQUIRE);
  uint64_t tail = control->data_tail;
  if (head == tail) return 0;
  // Records are multiples of 8 bytes, and so is the ring: a header never runs over its end.
  struct perf_event_header header;
  memcpy(&header, data + tail % size, sizeof header);
  if (header.size < sizeof header || header.size > capacity || header.size > head - tail) {
    __atomic_store_n(&control->data_tail, head, __ATOMIC_RELEASE);
    return -EBADMSG;
  }
  size_t first = size - tail % size;
  if (first > header.size) first = header.size;
  memcpy(record, data + tail % size, first);
  memcpy((uint8_t *)record + first, data, header.size - first);
  __atomic_store_n(&control->data_tail, tail + header.size, __ATOMIC_RELEASE);
  return header.size;
}
