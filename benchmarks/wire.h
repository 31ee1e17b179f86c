/* What provider.c and load.c share: time, memory, sockets, and the epoll that they wait with. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum {
  TEXT = 16384,     /* bytes of a request, of an answer's head, of what follows its last delta */
  PIECE = 262144,   /* bytes of one read; a shorter one has emptied the socket */
  EVENTS = 512,     /* of one look at the sockets */
  DIGITS = 16,      /* of a stamp */
  GRACE = 10000000, /* microseconds for the last answers to end, after they should have */
};

static void die(const char *format, ...) {
  va_list values;
  va_start(values, format);
  vfprintf(stderr, format, values);
  va_end(values);
  fputc('\n', stderr);
  exit(1);
}

static long long now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static void *grown(void *block, size_t bytes) {
  block = realloc(block, bytes);
  if (!block) die("out of memory");
  return block;
}

static int polling; /* the epoll that all sockets of this process are in */

static void watch(int fd, void *data) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = data};
  if (epoll_ctl(polling, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl: %s", strerror(errno));
}

static int wait_until(long long moment, struct epoll_event *events) {
  long long left = moment - now_us();
  struct timespec wait = {.tv_sec = left / 1000000, .tv_nsec = left % 1000000 * 1000};
  if (left <= 0) wait = (struct timespec){0};
  int ready = epoll_pwait2(polling, events, EVENTS, &wait, NULL);
  if (ready < 0 && errno != EINTR) die("epoll_pwait2: %s", strerror(errno));
  return ready;
}

static int stream_socket(int port, struct sockaddr_in *address) {
  *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
  address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
  if (fd < 0) die("socket: %s", strerror(errno));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return fd;
}

