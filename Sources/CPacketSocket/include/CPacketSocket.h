// Packet sockets (packet(7)) as static inline functions: a socket, its filter, and the TPACKET_V3 ring that the kernel
// fills and we empty. Apart from CLinux, because nothing but the packet recorder needs any of it.
//
// The ring is a row of blocks. A block is the kernel's until its status says "user", and then ours until we write
// "kernel" back; the status is the only word both sides write, so it is read with acquire and written with release.
// Inside a block the packets are a chain of offsets. They are the kernel's own and still checked against the block:
// what is read here came through shared memory.
#pragma once

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

// GNU functions, bound by symbol (CLinux.h says why).
extern int packet_gnu_setns(int, int) __asm__("setns");

// The result of a call, or its negative error number.
#define PACKET_RESULT(call)            \
  do {                                 \
    long result_ = (long)(call);       \
    return result_ < 0 ? -errno : result_; \
  } while (0)

// One instruction of classic BPF, as struct sock_filter has it.
struct packet_instruction {
  uint16_t code;
  uint8_t if_true, if_false;
  uint32_t k;
};

// Protocol 0: nothing is delivered before `packet_bind_all`, so the filter is there first.
static inline long packet_open(void) {
  PACKET_RESULT(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

static inline long packet_attach_filter(int fd, const struct packet_instruction *program, uint16_t count) {
  struct sock_fprog filter = {count, (struct sock_filter *)program};
  PACKET_RESULT(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter));
}

// Makes the ring and maps it. `frame` must divide `block_size`; with version 3 it bounds nothing else.
static inline long packet_make_ring(int fd, uint32_t block_size, uint32_t blocks, uint32_t milliseconds,
                                    void **memory) {
  int version = TPACKET_V3;
  if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) < 0) return -errno;
  struct tpacket_req3 request;
  memset(&request, 0, sizeof request);
  request.tp_block_size = block_size;
  request.tp_block_nr = blocks;
  request.tp_frame_size = 2048;
  request.tp_frame_nr = block_size / 2048 * blocks;
  request.tp_retire_blk_tov = milliseconds;
  if (setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request) < 0) return -errno;
  void *mapped = mmap(NULL, (size_t)block_size * blocks, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return -errno;
  *memory = mapped;
  return 0;
}

static inline void packet_unmap_ring(void *memory, size_t size) { munmap(memory, size); }

// All protocols, all interfaces: deliveries begin.
static inline long packet_bind_all(int fd) {
  struct sockaddr_ll address;
  memset(&address, 0, sizeof address);
  address.sll_family = AF_PACKET;
  address.sll_protocol = (uint16_t)(ETH_P_ALL << 8 | ETH_P_ALL >> 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  address.sll_protocol = ETH_P_ALL;
#endif
  PACKET_RESULT(bind(fd, (const struct sockaddr *)&address, sizeof address));
}

struct packet_statistics {
  uint32_t packets, drops, freezes;
};

// Since they were last asked for: the kernel sets them to zero by telling.
static inline long packet_get_statistics(int fd, struct packet_statistics *statistics) {
  struct tpacket_stats_v3 raw;
  memset(&raw, 0, sizeof raw);
  socklen_t length = sizeof raw;
  if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &raw, &length) < 0) return -errno;
  statistics->packets = raw.tp_packets;
  statistics->drops = raw.tp_drops;
  statistics->freezes = raw.tp_freeze_q_cnt;
  return 0;
}

// The name an interface has in the socket's network namespace, wherever the caller is. `name` has IF_NAMESIZE bytes.
static inline long packet_interface_name(int fd, int index, char *name) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  request.ifr_ifindex = index;
  if (ioctl(fd, SIOCGIFNAME, &request) < 0) return -errno;
  memcpy(name, request.ifr_name, IF_NAMESIZE);
  name[IF_NAMESIZE - 1] = 0;
  return 0;
}

// Moves the calling thread, and no other, into a network namespace. CLONE_NEWNET is 0x40000000.
static inline long packet_enter_namespace(int fd) { PACKET_RESULT(packet_gnu_setns(fd, 0x40000000)); }

// MARK: reading the ring

// Whether the block is ours to read.
static inline int packet_block_is_ours(const void *block) {
  const struct tpacket_block_desc *description = (const struct tpacket_block_desc *)block;
  return (__atomic_load_n(&description->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) != 0;
}

// Whether the kernel is putting packets into it.
static inline int packet_block_is_filling(const void *block) {
  const struct tpacket_block_desc *description = (const struct tpacket_block_desc *)block;
  return !packet_block_is_ours(block) && __atomic_load_n(&description->hdr.bh1.num_pkts, __ATOMIC_RELAXED) > 0;
}

static inline void packet_give_back(void *block) {
  struct tpacket_block_desc *description = (struct tpacket_block_desc *)block;
  // The kernel does so when it begins with the block again, which may be much later.
  description->hdr.bh1.num_pkts = 0;
  __atomic_store_n(&description->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
}

static inline uint32_t packet_count(const void *block) {
  return ((const struct tpacket_block_desc *)block)->hdr.bh1.num_pkts;
}

static inline uint32_t packet_first_offset(const void *block) {
  return ((const struct tpacket_block_desc *)block)->hdr.bh1.offset_to_first_pkt;
}

// One packet of a block.
struct packet_record {
  int64_t nanoseconds;  // since 1970
  const uint8_t *bytes; // in the block
  uint32_t captured;    // how many there are
  uint32_t length;      // how many there were
  uint32_t next;        // offset of the next one in the block; 0 after the last
  int32_t interface;
  uint16_t hardware;    // ARPHRD_*
  uint8_t kind;         // PACKET_HOST 0 … PACKET_OUTGOING 4
};

// Reads the packet at `offset`. False when it does not lie within the block.
static inline int packet_read(const void *block, uint32_t block_size, uint32_t offset,
                              struct packet_record *record) {
  const size_t link = TPACKET_ALIGN(sizeof(struct tpacket3_hdr));
  if (offset % 8 || (uint64_t)offset + link + sizeof(struct sockaddr_ll) > block_size) return 0;
  const uint8_t *start = (const uint8_t *)block + offset;
  const struct tpacket3_hdr *header = (const struct tpacket3_hdr *)start;
  const struct sockaddr_ll *address = (const struct sockaddr_ll *)(start + link);
  uint64_t end = (uint64_t)offset + header->tp_mac + header->tp_snaplen;
  if (end > block_size) return 0;
  record->nanoseconds = (int64_t)header->tp_sec * 1000000000 + header->tp_nsec;
  record->bytes = start + header->tp_mac;
  record->captured = header->tp_snaplen;
  record->length = header->tp_len;
  record->next = header->tp_next_offset ? offset + header->tp_next_offset : 0;
  if (record->next && record->next <= offset) return 0;
  record->interface = address->sll_ifindex;
  record->hardware = address->sll_hatype;
  record->kind = address->sll_pkttype;
  return 1;
}
