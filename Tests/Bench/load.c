// The load: many connections, on each one request at a time, answers checked.
//
//   load --port P --path /1024/x [--random K | --unique FIRST] --connections C
//        (--seconds S | --requests N) [--spin 1] [--tls 1] [--fresh 1]
//
// `--random K` appends a number below K to the path, in random order; `--unique` appends FIRST,
// FIRST+1, … so that no request repeats. It opens all connections and lets each make one request,
// prints "ready", and waits for a line on standard input: that is when the benchmark looks at the
// server's CPU clock. Then it works, stops asking, lets the last answers come in, and prints one
// line of JSON. So the requests it counts are exactly those the server's CPU time was spent on.
// At end of input it ends at once: ten thousand idle connections are "ready" and no line.
//
// With `--spin 1` it never sleeps while it works. Waking a sleeper on another core is an interrupt,
// dear in a virtual machine, which the sender pays: the server would be charged for a client that
// happens to live on the same machine, and a slow server more than a fast one.
//
// With `--tls 1` it speaks TLS 1.3 with one cipher (TLS_AES_128_GCM_SHA256, X25519), so that all
// servers are asked for the same work, and looks at no certificate. With `--fresh 1` every request has
// a connection of its own, and a whole handshake: no session is taken up again.
//
// Every answer must be a 200 with a Content-Length; anything else is counted as failed.
#include "common.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

enum { HEAD_ROOM = 4096, OPENING_AT_ONCE = 64, STALLED_SECONDS = 20 };

struct connection {
  int64_t body_left;
  uint32_t head_filled;
  bool open, busy, opened_before, unsent;
  SSL *tls;
  char request[256];     // kept while the handshake goes on
  char head[HEAD_ROOM];  // an answer's head that came in pieces
};

static struct connection *connections;  // by descriptor
static char buffer[256 * 1024];
static int epoll, port, wanted_connections, idle[MAX_DESCRIPTORS], idle_count, alive, opening, first_answers;
static const char *path;
static uint64_t random_below, unique_next, seed = 88172645463325252u;
static bool unique, spin, fresh;
static SSL_CTX *context;
static uint64_t started, finished, failed, reconnected, received_bytes;

static uint64_t random_number(void) {  // xorshift64: the same order in every run
  seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
  return seed;
}

static void start_tls(void) {
  context = SSL_CTX_new(TLS_client_method());
  if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) ||
      !SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256") || !SSL_CTX_set1_groups_list(context, "X25519"))
    die("OpenSSL cannot be set up");
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
}

// Sends the request, or as much of the handshake before it as can be sent now.
static void send_request(int fd) {
  struct connection *c = &connections[fd];
  int size = (int)strlen(c->request);
  if (!c->tls) {
    // A request fits any socket buffer; a failed send shows up as an end of the connection.
    (void)!send(fd, c->request, (size_t)size, MSG_NOSIGNAL);
    return;
  }
  ERR_clear_error();
  int result = SSL_write(c->tls, c->request, size);
  c->unsent = result <= 0;
  if (result <= 0 && SSL_get_error(c->tls, result) != SSL_ERROR_WANT_READ && alive == 1 && first_answers == 0)
    die("the TLS handshake failed: %s", ERR_reason_error_string(ERR_peek_error()));
}

static void ask(int fd) {
  char number[24] = "";
  if (random_below) snprintf(number, sizeof number, "%lu", (unsigned long)(random_number() % random_below));
  if (unique) snprintf(number, sizeof number, "%lu", (unsigned long)unique_next++);
  snprintf(connections[fd].request, sizeof connections[fd].request,
           "GET %s%s HTTP/1.1\r\nHost: bench.example.org\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n", path, number);
  connections[fd].busy = true;
  connections[fd].head_filled = 0;
  connections[fd].body_left = -1;
  started++;
  send_request(fd);
}

static void open_one(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = loopback(port);
  if (fd < 0 || fd >= MAX_DESCRIPTORS) die("cannot open another socket after %d; is `ulimit -n` too low?", alive);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) die("cannot connect to port %d", port);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  set_no_delay(fd);
  connections[fd].open = true;
  connections[fd].opened_before = connections[fd].unsent = false;
  connections[fd].tls = NULL;
  if (context) {
    SSL *tls = connections[fd].tls = SSL_new(context);
    if (!tls || !SSL_set_fd(tls, fd)) die("no memory for TLS");
    SSL_set_connect_state(tls);
  }
  alive++;
  opening++;
  watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN);
  ask(fd);
}

static void leave(int fd) {
  struct connection *c = &connections[fd];
  if (c->tls) SSL_shutdown(c->tls);
  SSL_free(c->tls);
  c->tls = NULL;
  c->open = false;
  alive--;
  close(fd);
}

static void answered(int fd, bool good) {
  struct connection *c = &connections[fd];
  c->busy = false;
  finished++;
  if (!good) failed++;
  if (!c->opened_before) {
    c->opened_before = true;
    opening--;
    first_answers++;
  }
  if (fresh) leave(fd);
  else idle[idle_count++] = fd;
}

// The peer closed. Between two answers that is its right, and the request is made again elsewhere.
static void closed(int fd) {
  struct connection *c = &connections[fd];
  bool in_answer = c->busy && (c->head_filled > 0 || c->body_left >= 0);
  bool unanswered = c->busy && !in_answer;
  if (!c->opened_before) opening--;
  if (in_answer) finished++, failed++;
  if (unanswered) started--;
  if (!c->busy)
    for (int i = 0; i < idle_count; i++)
      if (idle[i] == fd) idle[i] = idle[--idle_count];
  leave(fd);
  reconnected++;
  if (reconnected > 1000000) die("the server keeps closing connections");
}

// Reads once; as recv(2), with EAGAIN for TLS that needs more.
static ssize_t receive(int fd) {
  struct connection *c = &connections[fd];
  if (!c->tls) return recv(fd, buffer, sizeof buffer, 0);
  if (c->unsent) send_request(fd);
  ERR_clear_error();
  int got = SSL_read(c->tls, buffer, sizeof buffer);
  if (got > 0) return got;
  errno = EAGAIN;
  return SSL_get_error(c->tls, got) == SSL_ERROR_WANT_READ ? -1 : 0;
}

// False when there was nothing, or nothing will come any more.
static bool take(int fd) {
  struct connection *c = &connections[fd];
  ssize_t got = receive(fd);
  if (got < 0 && errno == EAGAIN) return false;
  if (got <= 0) {
    closed(fd);
    return false;
  }
  received_bytes += (uint64_t)got;
  if (c->body_left >= 0) {
    c->body_left -= got;
  } else {
    char *head = buffer;
    size_t size = (size_t)got;
    if (c->head_filled > 0) {
      size_t room = HEAD_ROOM - c->head_filled, part = size < room ? size : room;
      memcpy(c->head + c->head_filled, buffer, part);
      head = c->head;
      size = c->head_filled + part;
      got -= (ssize_t)part;  // what did not fit is body
    } else {
      got = 0;
    }
    char *end = memmem(head, size, "\r\n\r\n", 4);
    if (!end) {
      if (size >= HEAD_ROOM) die("an answer's head is longer than %d bytes", HEAD_ROOM);
      if (head == buffer) memcpy(c->head, buffer, size);
      c->head_filled = (uint32_t)size;
      return true;
    }
    *end = 0;
    char *length = strcasestr(head, "\r\ncontent-length:");
    bool good = size > 12 && memcmp(head + 8, " 200", 4) == 0 && length;
    if (!good) {
      if (failed == 0) fprintf(stderr, "load: an unexpected answer:\n%s\n", head);
      failed++;
    }
    if (!length) die("an answer without Content-Length");
    c->body_left = strtoll(length + 17, NULL, 10) - (int64_t)(size - (size_t)(end + 4 - head)) - got;
  }
  if (c->body_left < 0) die("an answer is longer than its Content-Length");
  if (c->body_left == 0) answered(fd, true);
  return true;
}

// What TLS has read ahead the kernel does not tell of.
static void take_all(int fd) {
  while (connections[fd].open && take(fd) && connections[fd].tls) {
  }
}

// One turn of the loop. Ends the program when nothing happened for too long.
static void turn(int timeout_ms) {
  static struct epoll_event events[MAX_EVENTS];
  static int64_t last_progress;
  int ready = epoll_wait(epoll, events, MAX_EVENTS, timeout_ms);
  int64_t now = monotonic_ns();
  if (ready > 0 || last_progress == 0) last_progress = now;
  if (now - last_progress > STALLED_SECONDS * 1000000000LL)
    die("no byte for %d seconds; %lu requests asked, %lu answered", STALLED_SECONDS, (unsigned long)started,
        (unsigned long)finished);
  for (int i = 0; i < ready; i++)
    if (connections[events[i].data.fd].open) take_all(events[i].data.fd);
}

int main(int count, char **words) {
  double seconds = 0;
  uint64_t limit = UINT64_MAX;
  for (int i = 1; i + 1 < count; i += 2) {
    const char *value = words[i + 1];
    if (strcmp(words[i], "--spin") == 0) spin = atoi(value);
    else if (strcmp(words[i], "--tls") == 0 && atoi(value)) start_tls();
    else if (strcmp(words[i], "--fresh") == 0) fresh = atoi(value);
    else if (strcmp(words[i], "--port") == 0) port = atoi(value);
    else if (strcmp(words[i], "--path") == 0) path = value;
    else if (strcmp(words[i], "--random") == 0) random_below = strtoul(value, NULL, 10);
    else if (strcmp(words[i], "--unique") == 0) unique = true, unique_next = strtoul(value, NULL, 10);
    else if (strcmp(words[i], "--connections") == 0) wanted_connections = atoi(value);
    else if (strcmp(words[i], "--seconds") == 0) seconds = atof(value);
    else if (strcmp(words[i], "--requests") == 0) limit = strtoul(value, NULL, 10);
  }
  if (!port || !path || wanted_connections < 1) {
    fprintf(stderr, "usage: load --port P --path /1024/x [--random K | --unique FIRST] --connections C "
                    "(--seconds S | --requests N) [--spin 1] [--tls 1] [--fresh 1]\n");
    return 2;
  }
  connections = calloc(MAX_DESCRIPTORS, sizeof *connections);  // pages come with use
  if (!connections) die("no memory");
  epoll = new_epoll();

  while (first_answers < wanted_connections) {
    while (alive < wanted_connections && opening < OPENING_AT_ONCE) open_one();
    turn(100);
  }
  if (failed > 0) die("the warm-up request failed");
  printf("ready\n");
  fflush(stdout);
  char line[16];
  if (!fgets(line, sizeof line, stdin)) return 0;

  uint64_t before_finished = finished, before_bytes = received_bytes, before_started = started;
  int64_t start = monotonic_ns(), end = seconds > 0 ? start + (int64_t)(seconds * 1e9) : INT64_MAX;
  for (;;) {
    bool asking = started - before_started < limit && monotonic_ns() < end;
    while (asking && idle_count > 0 && started - before_started < limit) ask(idle[--idle_count]);
    while (asking && alive < wanted_connections) open_one();
    if (!asking && finished == started) break;
    turn(spin ? 0 : 100);
  }
  printf("{\"requests\": %lu, \"bytes\": %lu, \"seconds\": %.6f, \"failed\": %lu, \"reconnected\": %lu}\n",
         (unsigned long)(finished - before_finished), (unsigned long)(received_bytes - before_bytes),
         (double)(monotonic_ns() - start) / 1e9, (unsigned long)failed, (unsigned long)reconnected);
  return 0;
}
