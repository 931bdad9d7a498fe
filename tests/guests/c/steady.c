// Does the same small piece of work at fixed moments, and says in the end how long after each moment
// it was done, in microseconds, one line for each.

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 10000, COMPUTED = 1500000, BYTES = 4096 };

static int64_t late[MOST];
static volatile uint32_t sink;

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static int files(const char *path) {
  static char bytes[BYTES];
  int file = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
  if (file < 0) return 0;
  int done = write(file, bytes, BYTES) == BYTES && lseek(file, 0, SEEK_SET) == 0 &&
             read(file, bytes, BYTES) == BYTES;
  return close(file) == 0 && done && unlink(path) == 0;
}

static void compute(void) {
  uint32_t hash = 2166136261;
  for (uint32_t i = 0; i < COMPUTED; i++) hash = (hash ^ i) * 16777619;
  sink = hash;
}

int main(int count, char **args) {
  if (count != 4) return 2;
  int64_t period = atoll(args[1]) * 1000;
  int pieces = atoi(args[2]);
  if (pieces > MOST) return 2;
  int64_t due = now();
  for (int piece = 0; piece < pieces; piece++) {
    due += period;
    int64_t rest = due - now();
    if (rest > 0) usleep((useconds_t)rest);
    compute();
    if (!files(args[3])) return 1;
    late[piece] = now() - due;
  }
  for (int piece = 0; piece < pieces; piece++) printf("%lld\n", (long long)late[piece]);
  return 0;
}
