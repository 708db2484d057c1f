// The origin behind every cache in the benchmark: fast enough never to be the bottleneck.
//
//   origin PORT
//
// The path says what is wanted:
//   /SIZE/anything            SIZE bytes, fresh for a day, with ETag and Last-Modified
//   /no-store/SIZE/anything   the same, but never to be stored
//   /slow/MS/SIZE/anything    the same as the first, MS milliseconds later
//   /stats                    "REQUESTS BYTES": how much was asked for and sent so far, not counting this
//
// Bytes are deterministic: each path reads a fixed pattern from a place of its own, so two answers
// to one path are equal and answers to two paths are (almost always) not. `/stats` is how the
// benchmark proves that a hit was a hit and a miss was a miss, whatever the cache under test says.
#include "common.h"

enum { PATTERN = 1024 * 1024, PLACES = 4096, HEAD_ROOM = 512, REQUEST_ROOM = 8192 };

struct connection {
  char request[REQUEST_ROOM];  // an incomplete request, or several
  size_t filled;
  char head[HEAD_ROOM];
  size_t head_size, head_sent;
  size_t body_size, body_sent, place;  // place: where in the pattern this path starts to read
  int64_t not_before;                  // a slow answer waits until then; 0 when not waiting
  bool answering;
};

static struct connection *connections[MAX_DESCRIPTORS];
static char pattern[PATTERN + PLACES];
static uint64_t requests, bytes;
static int epoll, waiting;

static void drop(int fd) {
  if (connections[fd]->not_before) waiting--;
  free(connections[fd]);
  connections[fd] = NULL;
  close(fd);
}

static uint64_t hash(const char *text, size_t size) {
  uint64_t value = 14695981039346656037u;  // FNV-1a
  for (size_t i = 0; i < size; i++) value = (value ^ (unsigned char)text[i]) * 1099511628211u;
  return value;
}

static const char *date_line(void) {
  static time_t made;
  static char line[64];
  struct timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  if (now.tv_sec != made) {
    struct tm parts;
    made = now.tv_sec;
    strftime(line, sizeof line, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", gmtime_r(&made, &parts));
  }
  return line;
}

static void prepare(struct connection *c, const char *path, size_t path_size) {
  c->head_sent = c->body_sent = c->body_size = 0;
  c->answering = true;
  if (path_size == 6 && memcmp(path, "/stats", 6) == 0) {
    char text[64];
    int size = snprintf(text, sizeof text, "%lu %lu\n", (unsigned long)requests, (unsigned long)bytes);
    c->head_size = (size_t)snprintf(c->head, HEAD_ROOM,
                                    "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n%s",
                                    size, text);
    return;
  }
  uint64_t key = hash(path, path_size);
  const char *rest = path, *policy = "max-age=86400";
  if (strncmp(rest, "/no-store/", 10) == 0) {
    policy = "no-store";
    rest += 9;
  } else if (strncmp(rest, "/slow/", 6) == 0) {
    char *after;
    c->not_before = monotonic_ns() + strtol(rest + 6, &after, 10) * 1000000;
    waiting++;
    rest = after;
  }
  requests++;
  if (rest[0] != '/' || rest[1] < '0' || rest[1] > '9') {
    c->head_size = (size_t)snprintf(c->head, HEAD_ROOM,
                                    "HTTP/1.1 404 Not Found\r\n%sContent-Length: 0\r\n\r\n", date_line());
    return;
  }
  c->body_size = strtoul(rest + 1, NULL, 10);
  c->place = key % PLACES;
  bytes += c->body_size;
  c->head_size = (size_t)snprintf(c->head, HEAD_ROOM,
                                  "HTTP/1.1 200 OK\r\n%sServer: origin\r\n"
                                  "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n"
                                  "Cache-Control: %s\r\nETag: \"%016lx\"\r\n"
                                  "Last-Modified: Mon, 05 Jan 2026 10:00:00 GMT\r\n\r\n",
                                  date_line(), c->body_size, policy, (unsigned long)key);
}

// Sends what is left. True when all is out, false when the socket is full or gone.
static bool send_rest(int fd, struct connection *c) {
  while (c->head_sent < c->head_size || c->body_sent < c->body_size) {
    size_t from = (c->place + c->body_sent) % PATTERN, left = c->body_size - c->body_sent;
    struct iovec parts[2] = {
        {c->head + c->head_sent, c->head_size - c->head_sent},
        {pattern + from, left < sizeof pattern - from ? left : sizeof pattern - from},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
    if (sent < 0) return false;
    size_t of_head = (size_t)sent < parts[0].iov_len ? (size_t)sent : parts[0].iov_len;
    c->head_sent += of_head;
    c->body_sent += (size_t)sent - of_head;
  }
  c->answering = false;
  return true;
}

// Answers all complete requests in the buffer, one after the other. False when the peer is gone.
static bool serve(int fd, struct connection *c) {
  for (;;) {
    if (c->answering && c->not_before == 0 && !send_rest(fd, c)) {
      if (errno != EAGAIN) return false;
      watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT);
      return true;
    }
    if (c->answering) return true;  // a slow answer: `wake_slow` goes on
    char *end = memmem(c->request, c->filled, "\r\n\r\n", 4);
    if (!end) return c->filled < sizeof c->request;
    char *path = memchr(c->request, ' ', (size_t)(end - c->request));
    char *stop = path ? memchr(path + 1, ' ', (size_t)(end - path - 1)) : NULL;
    if (!stop) return false;
    prepare(c, path + 1, (size_t)(stop - path - 1));
    size_t used = (size_t)(end + 4 - c->request);
    memmove(c->request, c->request + used, c->filled - used);
    c->filled -= used;
  }
}

static void wake_slow(void) {
  int64_t now = monotonic_ns();
  for (int fd = 0; fd < MAX_DESCRIPTORS && waiting; fd++) {
    struct connection *c = connections[fd];
    if (!c || c->not_before == 0 || c->not_before > now) continue;
    c->not_before = 0;
    waiting--;
    if (!serve(fd, c)) drop(fd);
  }
}

int main(int count, char **words) {
  if (count != 2) {
    fprintf(stderr, "usage: origin PORT\n");
    return 2;
  }
  for (size_t i = 0; i < sizeof pattern; i++) {
    uint64_t at = i % PATTERN;  // the part past the end repeats the start, so reads need not wrap
    pattern[i] = (char)((at * 2654435761u) >> 13);
  }
  int listener = listen_on(atoi(words[1]));
  epoll = new_epoll();
  watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN);
  static struct epoll_event events[MAX_EVENTS];

  for (;;) {
    int ready = epoll_wait(epoll, events, MAX_EVENTS, waiting ? 1 : -1);
    for (int i = 0; i < ready; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        int client;
        while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
          if (client >= MAX_DESCRIPTORS || !(connections[client] = calloc(1, sizeof(struct connection)))) {
            close(client);
            continue;
          }
          set_no_delay(client);
          watch(epoll, EPOLL_CTL_ADD, client, EPOLLIN);
        }
        continue;
      }
      struct connection *c = connections[fd];
      if (events[i].events & EPOLLOUT) watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
      if (events[i].events & EPOLLIN) {
        ssize_t got = recv(fd, c->request + c->filled, sizeof c->request - c->filled, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
          drop(fd);
          continue;
        }
        if (got > 0) c->filled += (size_t)got;
      }
      if ((events[i].events & (EPOLLERR | EPOLLHUP)) || !serve(fd, c)) drop(fd);
    }
    if (waiting) wake_slow();
  }
}
