/* A load that checks what it is given: load PORT REQUEST STREAMS DELTAS RATE RAMP SECONDS END...

   It opens STREAMS connections in the first two thirds of RAMP seconds, sends the bytes of the
   file REQUEST on each, and counts for SECONDS after the ramp. DELTAS and RATE must be those of
   the model (provider.c). With a rate each connection asks once; without, again and again.
   Whatever a gateway speaks, its answer must be "200" and chunked, hold DELTAS stamps that rise,
   and end with a text that holds every END; else the load says why and exits with 1. It prints
   "start" and "stop" at the edges of counting, and then one line of JSON: "latency_us" is how long
   a delta took from the provider to here, "first_us" the time from a request to its first delta,
   "late_us" how far the provider was behind its schedule; each as [number, p50, p90, p99, max].
   "cpu" are the seconds of processor time that the load itself took between the edges. */
#include "wire.h"

typedef struct {
  int *values;
  size_t count, room;
} Samples;

enum State { CLOSED, CONNECTING, IN_HEAD, IN_SIZE, IN_DATA, AFTER_DATA, IN_TRAILER, DONE };

typedef struct {
  int fd;
  enum State state;
  long long begins, asked;
  long long chunk;       /* bytes of it that are to come */
  int line;              /* bytes of a line of the trailer */
  int digits;            /* of the stamp that is being read; -1: none is */
  long long stamp, last; /* the one that is being read, and the one before it */
  long long first, deltas;
  size_t kept; /* bytes of text: the head, and later what follows the last delta */
  char text[TEXT];
} Client;

static char request[TEXT];
static size_t request_length;
static long long expected, rate, arrived; /* when the piece at hand was read */
static char **ends;
static bool counting, stopped;
static long long deltas, answers, opened, busy; /* busy: connections that wait for an end */
static Samples latencies, firsts, lateness;

static void sample(Samples *samples, long long value) {
  if (samples->count == samples->room) {
    samples->room = 2 * samples->room + 65536;
    samples->values = grown(samples->values, samples->room * sizeof(int));
  }
  samples->values[samples->count++] = value > INT32_MAX ? INT32_MAX : (int)value;
}

static const int PERCENTS[] = {50, 90, 99};

static int ascending(const void *left, const void *right) {
  return (*(const int *)left > *(const int *)right) - (*(const int *)left < *(const int *)right);
}

static void print_samples(const char *name, Samples *samples) {
  size_t count = samples->count;
  if (count) qsort(samples->values, count, sizeof(int), ascending);
  printf(", \"%s\": [%zu", name, count);
  for (int i = 0; count && i < 3; i++) printf(", %d", samples->values[count * PERCENTS[i] / 100]);
  printf(count ? ", %d]" : "]", count ? samples->values[count - 1] : 0);
}

static void ask(Client *client) {
  client->state = IN_HEAD;
  client->digits = -1;
  client->last = client->deltas = client->kept = client->chunk = 0;
  client->asked = now_us();
  if (send(client->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length)
    die("a request was not taken: %s", strerror(errno));
}

static void open_connection(Client *client, int port) {
  struct sockaddr_in address;
  client->fd = stream_socket(port, &address);
  client->state = CONNECTING;
  busy++;
  if (connect(client->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
    die("no connection: %s", strerror(errno));
  watch(client->fd, client);
}

static void take_delta(Client *client) {
  if (client->stamp <= client->last)
    die("delta %lld of an answer came twice or out of order", client->deltas + 1);
  if (++client->deltas > expected) die("an answer has more than its %lld deltas", expected);
  client->last = client->stamp;
  if (client->deltas == 1) {
    client->first = client->stamp;
    opened++;
    sample(&firsts, arrived - client->asked);
  }
  if (!counting) return;
  deltas++;
  if (!rate) return;
  sample(&latencies, arrived - client->stamp);
  sample(&lateness, client->stamp - client->first - (client->deltas - 1) * (1000000 / rate));
}

static void keep(Client *client, const char *bytes, size_t length) {
  if (client->kept + length >= TEXT) die("an answer has too long an end");
  memcpy(client->text + client->kept, bytes, length);
  client->text[client->kept += length] = 0;
}

static void take_body(Client *client, const char *at, const char *end) {
  while (at < end && client->deltas < expected) {
    if (client->digits < 0) {
      at = memchr(at, '~', end - at);
      if (!at++) return;
      client->digits = client->stamp = 0;
    }
    for (; at < end && client->digits < DIGITS; at++, client->digits++) {
      if (*at < '0' || *at > '9') die("a stamp is garbled: %.40s", at - client->digits);
      client->stamp = 10 * client->stamp + *at - '0';
    }
    if (client->digits == DIGITS) {
      client->digits = -1;
      take_delta(client);
    }
  }
  if (at < end) keep(client, at, end - at);
}

static void finish(Client *client) {
  if (client->deltas != expected)
    die("an answer has %lld deltas instead of %lld", client->deltas, expected);
  if (strchr(client->text, '~')) die("an answer has more than its %lld deltas", expected);
  for (char **end = ends; *end; end++) {
    if (strstr(client->text, *end)) continue;
    die("an answer does not end with %s but %s", *end, client->text);
  }
  answers += counting;
  if (!rate && !stopped) {
    ask(client);
    return;
  }
  client->state = DONE;
  busy--;
}

static void refuse(Client *client, const char *body) {
  usleep(100000); /* what it says may come in a piece of its own */
  ssize_t got = recv(client->fd, client->text + client->kept, TEXT - 1 - client->kept, 0);
  client->text[client->kept + (got > 0 ? got : 0)] = 0;
  int line = strcspn(client->text, "\r\n");
  die("answered %.*s: %.300s", line, client->text, body ? body + 4 : "");
}

/* Takes the head out of a piece; returns where the body begins. */
static const char *take_head(Client *client, const char *at, const char *end) {
  size_t before = client->kept, length = end - at;
  if (length > TEXT - 1 - before) length = TEXT - 1 - before;
  keep(client, at, length);
  char *body = strstr(client->text, "\r\n\r\n");
  if (!body && client->kept < TEXT - 1) return end;
  if (!body || strncmp(client->text, "HTTP/1.1 200 ", 13)) refuse(client, body);
  char *chunked = strcasestr(client->text, "\r\ntransfer-encoding: chunked");
  if (!chunked || chunked > body) die("not chunked: %.1000s", client->text);
  client->state = IN_SIZE;
  client->kept = 0;
  client->text[0] = 0;
  return at + (body + 4 - client->text - before);
}

static int hex(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  digit |= 32;
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  die("a chunk has no size");
  return 0;
}

static void take(Client *client, const char *at, const char *end) {
  while (at < end) switch (client->state) {
      case IN_HEAD:
        at = take_head(client, at, end);
        break;
      case IN_SIZE:
        if (*at == '\n') client->state = client->chunk ? IN_DATA : IN_TRAILER, client->line = 0;
        else if (*at != '\r') client->chunk = 16 * client->chunk + hex(*at);
        at++;
        break;
      case IN_DATA: {
        long long length = end - at < client->chunk ? end - at : client->chunk;
        take_body(client, at, at + length);
        at += length;
        if (!(client->chunk -= length)) client->state = AFTER_DATA;
        break;
      }
      case AFTER_DATA:
        if (*at++ == '\n') client->state = IN_SIZE;
        break;
      case IN_TRAILER:
        if (*at == '\n' && !client->line) finish(client);
        else if (*at == '\n') client->line = 0;
        else client->line += *at != '\r';
        at++;
        break;
      default:
        die("bytes after an answer: %.40s", at);
    }
}

static void on_event(Client *client, unsigned happened) {
  static char piece[PIECE + 1];
  if (client->state == CONNECTING && happened & EPOLLOUT) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) die("no connection: %s", strerror(error));
    ask(client);
  }
  for (ssize_t got = PIECE; happened & EPOLLIN && got == PIECE && client->state != CLOSED;) {
    got = recv(client->fd, piece, PIECE, 0);
    if (got < 0 && errno == EAGAIN) return;
    arrived = now_us();
    if (got > 0) {
      piece[got] = 0;
      take(client, piece, piece + got);
    } else if (client->state == DONE) {
      client->state = CLOSED;
      close(client->fd);
    } else {
      die("the connection was closed in the middle of an answer");
    }
  }
}

static double edge(const char *name) {
  struct timespec cpu;
  puts(name);
  fflush(stdout);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
  return cpu.tv_sec + cpu.tv_nsec / 1e9;
}

static void load(int port, int streams, double ramp, double seconds) {
  Client *clients = calloc(streams, sizeof *clients);
  if (!clients) die("out of memory");
  long long began = now_us(), from = began + ramp * 1e6, to = from + seconds * 1e6;
  long long starting = ramp * 2e6 / 3, given_up = to + starting + GRACE;
  long long opened_before = 0;
  double cpu = 0;
  srand(streams); /* the same spread on every run, and no two streams in step: real ones are not */
  for (int i = 0; i < streams; i++) /* ascending, each somewhere in its share of the ramp */
    clients[i].begins = began + starting * (i + rand() / (1.0 + RAND_MAX)) / streams;
  for (int next = 0; !stopped || (busy && now_us() < given_up);) {
    long long now = now_us();
    while (next < streams && clients[next].begins <= now) open_connection(clients + next++, port);
    if (!counting && !stopped && now >= from) {
      cpu = edge("start");
      opened_before = opened;
      counting = true;
      from = now_us();
    } else if (counting && now >= to) {
      counting = false;
      stopped = true;
      seconds = (now_us() - from) / 1e6;
      cpu = edge("stop") - cpu;
      if (rate && deltas < streams * rate * seconds / 2) break; /* it is hopeless to wait */
    }
    struct epoll_event events[EVENTS];
    long long until = stopped ? given_up : counting ? to : from;
    if (next < streams && clients[next].begins < until) until = clients[next].begins;
    int ready = wait_until(until, events);
    for (int i = 0; i < ready; i++) on_event(events[i].data.ptr, events[i].events);
  }
  printf("{\"seconds\": %f, \"cpu\": %f, \"deltas\": %lld, \"answers\": %lld", seconds, cpu, deltas,
         answers);
  printf(", \"opened\": %lld, \"unfinished\": %lld", rate ? opened_before : streams, busy);
  print_samples("latency_us", &latencies);
  print_samples("first_us", &firsts);
  print_samples("late_us", &lateness);
  puts("}");
}

int main(int count, char **words) {
  if (count < 8) die("usage: load PORT REQUEST STREAMS DELTAS RATE RAMP SECONDS END...");
  polling = epoll_create1(0);
  FILE *file = fopen(words[2], "rb");
  if (!file) die("%s: %s", words[2], strerror(errno));
  request_length = fread(request, 1, sizeof request, file);
  fclose(file);
  expected = atoll(words[4]);
  rate = atoll(words[5]);
  ends = words + 8;
  load(atoi(words[1]), atoi(words[3]), atof(words[6]), atof(words[7]));
}
