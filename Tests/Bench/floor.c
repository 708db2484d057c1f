// The floor: the least a server on this machine can spend on an answer of a given size.
//
//   floor PORT SIZE
//
// A bare epoll loop that reads whatever was sent, looks for no more than the end of a request
// head, and sends the same answer every time: from memory up to 16 KiB, with sendfile above. No
// parsing, no lookup, no timers. What a cache costs above this line is its own doing.
#include "common.h"

enum { IN_MEMORY = 16 * 1024, SENDFILE_STEP = 1024 * 1024 };

// What is left to send of the current answer, per descriptor; zero when idle.
static struct { size_t head_left, body_left; } connections[MAX_DESCRIPTORS];

static char answer[512 + IN_MEMORY];
static size_t head_size, body_size;
static int file = -1;

static void prepare(size_t size) {
  body_size = size;
  head_size = (size_t)snprintf(answer, 512,
                               "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
                               "Content-Length: %zu\r\nCache-Control: max-age=86400\r\n\r\n",
                               size);
  if (size <= IN_MEMORY) {  // one piece: the body counts as the tail of the head
    memset(answer + head_size, 'x', size);
    head_size += size;
    body_size = 0;
    return;
  }
  char name[] = "/tmp/floor-XXXXXX";
  file = mkstemp(name);
  if (file < 0) die("cannot make a file for the body");
  unlink(name);
  char block[65536];
  memset(block, 'x', sizeof block);
  for (size_t done = 0; done < size;) {
    size_t part = size - done < sizeof block ? size - done : sizeof block;
    ssize_t written = write(file, block, part);
    if (written <= 0) die("cannot write the body");
    done += (size_t)written;
  }
}

// Sends what is left. True when all is out, false when the socket is full or gone. A short send
// means full: to ask again at once would find the few bytes that the client has read meanwhile,
// and end in many small calls.
static bool send_rest(int fd) {
  while (connections[fd].head_left > 0) {
    size_t left = connections[fd].head_left;
    int more = connections[fd].body_left > 0 ? MSG_MORE : 0;
    ssize_t sent = send(fd, answer + head_size - left, left, MSG_NOSIGNAL | more);
    if (sent < 0) return false;
    connections[fd].head_left -= (size_t)sent;
  }
  while (connections[fd].body_left > 0) {
    size_t left = connections[fd].body_left;
    off_t offset = (off_t)(body_size - left);
    ssize_t sent = sendfile(fd, file, &offset, left < SENDFILE_STEP ? left : SENDFILE_STEP);
    if (sent <= 0) return false;
    connections[fd].body_left -= (size_t)sent;
    if ((size_t)sent < SENDFILE_STEP && connections[fd].body_left > 0) {
      errno = EAGAIN;
      return false;
    }
  }
  return true;
}

int main(int count, char **words) {
  if (count != 3) {
    fprintf(stderr, "usage: floor PORT SIZE\n");
    return 2;
  }
  prepare(strtoul(words[2], NULL, 10));
  int listener = listen_on(atoi(words[1]));
  int epoll = new_epoll();
  watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN);
  static struct epoll_event events[MAX_EVENTS];
  static char request[65536];

  for (;;) {
    int ready = epoll_wait(epoll, events, MAX_EVENTS, -1);
    for (int i = 0; i < ready; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        int client;
        while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
          if (client >= MAX_DESCRIPTORS) {
            close(client);
            continue;
          }
          set_no_delay(client);
          connections[client].head_left = connections[client].body_left = 0;
          watch(epoll, EPOLL_CTL_ADD, client, EPOLLIN);
        }
        continue;
      }
      if (events[i].events & EPOLLOUT) {
        if (send_rest(fd)) watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
        else if (errno != EAGAIN) close(fd);
        continue;
      }
      ssize_t received = recv(fd, request, sizeof request, 0);
      if (received <= 0) {
        if (received == 0 || errno != EAGAIN) close(fd);
        continue;
      }
      // The load generator sends one whole request at a time.
      if (received < 4 || memcmp(request + received - 4, "\r\n\r\n", 4) != 0) continue;
      connections[fd].head_left = head_size;
      connections[fd].body_left = body_size;
      if (send_rest(fd)) continue;
      if (errno == EAGAIN) watch(epoll, EPOLL_CTL_MOD, fd, EPOLLOUT);
      else close(fd);
    }
  }
}
