/* A provider that writes stamped deltas: provider PORT

   It speaks OpenAI's chat completions over keep-alive HTTP/1.1. A model named "bench-DELTAS-RATE"
   asks for an answer of so many deltas, at so many per second; RATE 0: as fast as the socket takes
   them. Each delta is "~" and the 16 digits of the moment at which it is written, in microseconds
   of the system-wide monotonic clock; stamps rise within an answer. A delta that the gateway does
   not take in time waits here with the stamp that it has: slow gateways cannot slow the clock that
   they are measured with. At the end come finish reason, usage and [DONE]. */
#include "wire.h"

#define START \
  "{\"id\":\"chatcmpl-benchmark\",\"object\":\"chat.completion.chunk\",\"created\":1767225600," \
  "\"model\":\"benchmark\",\"system_fingerprint\":\"fp_benchmark\",\"choices\":["
#define CHUNK(delta, reason) \
  START "{\"index\":0,\"delta\":" delta ",\"logprobs\":null,\"finish_reason\":" reason "}]," \
        "\"usage\":null}"

static const char HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char UNKNOWN[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n"
                              "Content-Type: application/json\r\n\r\n{}";
static const char ROLE[] = CHUNK("{\"role\":\"assistant\",\"content\":\"\"}", "null");
static const char WORD[] = CHUNK("{\"content\":\" ~0000000000000000\"}", "null");
static const char STOP[] = CHUNK("{}", "\"stop\"");

typedef struct {
  int fd;
  size_t got; /* bytes of the request */
  char request[TEXT];
  char *out; /* what the socket has not taken: from..to */
  size_t from, to, room;
  long long total, left; /* deltas */
  long long period, due, stamp;
  int place; /* in the schedule; 0: not there */
} Answer;

/* Answers that are not held back, the one that is due first at 1: a binary heap. */
static Answer **schedule;
static int scheduled, schedule_room;

static void put(int place, Answer *answer) {
  schedule[place] = answer;
  answer->place = place;
}

static void settle(Answer *answer) {
  int place = answer->place;
  for (; place > 1 && schedule[place / 2]->due > answer->due; place /= 2)
    put(place, schedule[place / 2]);
  for (int next; (next = 2 * place) <= scheduled; place = next) {
    if (next < scheduled && schedule[next + 1]->due < schedule[next]->due) next++;
    if (schedule[next]->due >= answer->due) break;
    put(place, schedule[next]);
  }
  put(place, answer);
}

static void insert(Answer *answer) {
  if (++scheduled >= schedule_room)
    schedule = grown(schedule, (schedule_room = 2 * scheduled + 64) * sizeof *schedule);
  put(scheduled, answer);
  settle(answer);
}

static void withdraw(Answer *answer) {
  Answer *last = schedule[scheduled--];
  if (answer != last) {
    put(answer->place, last);
    settle(last);
  }
  answer->place = 0;
}

static void hang_up(Answer *answer) {
  if (answer->place) withdraw(answer);
  close(answer->fd);
  free(answer->out);
  free(answer);
}

static void add(Answer *answer, const char *bytes, size_t length) {
  if (answer->to + length > answer->room)
    answer->out = grown(answer->out, answer->room = 2 * answer->room + length);
  memcpy(answer->out + answer->to, bytes, length);
  answer->to += length;
}

static void add_event(Answer *answer, const char *json) {
  char chunk[1024];
  int length = snprintf(chunk, sizeof chunk, "%zx\r\ndata: %s\n\n\r\n", strlen(json) + 8, json);
  add(answer, chunk, length);
}

static void add_delta(Answer *answer) {
  static char chunk[1024];
  static size_t length, digits;
  if (!length) {
    length = snprintf(chunk, sizeof chunk, "%zx\r\ndata: %s\n\n\r\n", strlen(WORD) + 8, WORD);
    digits = strchr(chunk, '~') + 1 - chunk;
  }
  long long now = now_us();
  answer->stamp = now > answer->stamp ? now : answer->stamp + 1;
  long long rest = answer->stamp;
  for (int i = DIGITS; i--; rest /= 10) chunk[digits + i] = '0' + rest % 10;
  add(answer, chunk, length);
  if (--answer->left) return;
  char usage[1024];
  add_event(answer, STOP);
  snprintf(usage, sizeof usage,
           START "],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":%lld,"
                 "\"total_tokens\":%lld}}",
           answer->total, answer->total + 20);
  add_event(answer, usage);
  add_event(answer, "[DONE]");
  add(answer, "0\r\n\r\n", 5);
}

/* Writes what there is; false: the gateway is gone. An answer at full speed that is not held back
   gets its next turn. */
static bool flush(Answer *answer) {
  while (answer->from < answer->to) {
    ssize_t sent =
        send(answer->fd, answer->out + answer->from, answer->to - answer->from, MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN;
    answer->from += sent;
  }
  answer->from = answer->to = 0;
  if (!answer->period && answer->left && !answer->place) {
    answer->due = now_us();
    insert(answer);
  }
  return true;
}

static void begin(Answer *answer) {
  long long rate;
  const char *model = strstr(answer->request, "bench-");
  if (!model || sscanf(model, "bench-%lld-%lld", &answer->total, &rate) != 2) {
    add(answer, UNKNOWN, sizeof UNKNOWN - 1);
    return;
  }
  answer->left = answer->total;
  answer->period = rate ? 1000000 / rate : 0;
  add(answer, HEAD, sizeof HEAD - 1);
  add_event(answer, ROLE);
  add_delta(answer); /* the first one at once */
  answer->due = answer->stamp + answer->period;
  if (answer->period && answer->left) insert(answer);
}

/* Reads a request, and answers it once it is whole; false: the gateway is gone. */
static bool receive(Answer *answer) {
  char *request = answer->request;
  for (;;) {
    ssize_t got = recv(answer->fd, request + answer->got, TEXT - 1 - answer->got, 0);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    answer->got += got;
    request[answer->got] = 0;
    char *body = strstr(request, "\r\n\r\n");
    if (!body) continue;
    char *length = strcasestr(request, "\r\ncontent-length:");
    bool known = length && length < body;
    bool whole = known ? request + answer->got >= body + 4 + atol(length + 17)
                       : !strcasestr(request, "chunked") || strstr(body, "\r\n0\r\n\r\n");
    if (!whole) continue;
    begin(answer);
    answer->got = 0;
  }
}

static void provide(int port) {
  struct sockaddr_in address;
  int listener = stream_socket(port, &address);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
    die("port %d: %s", port, strerror(errno));
  watch(listener, NULL);
  for (;;) {
    struct epoll_event events[EVENTS];
    int ready = wait_until(scheduled ? schedule[1]->due : now_us() + GRACE, events);
    for (int i = 0; i < ready; i++) {
      Answer *answer = events[i].data.ptr;
      if (answer) {
        if (!receive(answer) || !flush(answer)) hang_up(answer);
        continue;
      }
      for (int fd, on = 1; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        Answer *fresh = calloc(1, sizeof *fresh);
        if (!fresh) die("out of memory");
        fresh->fd = fd;
        watch(fd, fresh);
      }
    }
    for (int turns = scheduled; turns-- && scheduled && schedule[1]->due <= now_us();) {
      Answer *answer = schedule[1];
      add_delta(answer);
      answer->due += answer->period;
      if (answer->period && answer->left) settle(answer);
      else withdraw(answer);
      if (!flush(answer)) hang_up(answer);
    }
  }
}

int main(int count, char **words) {
  if (count != 2) die("usage: provider PORT");
  polling = epoll_create1(0);
  provide(atoi(words[1]));
}
