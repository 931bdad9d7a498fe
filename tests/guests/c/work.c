// Does one kind of computing over and over, wherever it runs, and times itself: prints one line for
// each round, the name of the work and its nanoseconds. A round is long for a clock of 1 ms.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SORTED = 1 << 20, SIDE = 320, PIECES = 1 << 20, DEPTH = 36 };

static uint32_t numbers[SORTED];
static double left[SIDE][SIDE], right[SIDE][SIDE], product[SIDE][SIDE];

// What is computed ends up here, so that no compiler leaves it out.
static volatile uint32_t sink;

static int by_size(const void *a, const void *b) {
  uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
  return (left > right) - (left < right);
}

static void sort(void) {
  uint32_t state = 1;
  for (int i = 0; i < SORTED; i++) {
    state = state * 1664525 + 1013904223;
    numbers[i] = state;
  }
  qsort(numbers, SORTED, sizeof numbers[0], by_size);
  sink = numbers[SORTED / 2];
}

static uint32_t __attribute__((noinline)) fibonacci(uint32_t n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static void recursion(void) { sink = fibonacci(DEPTH); }

static void matrix(void) {
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) {
      left[i][j] = i + j;
      right[i][j] = i - j;
    }
  for (int pass = 0; pass < 8; pass++)
    for (int i = 0; i < SIDE; i++)
      for (int j = 0; j < SIDE; j++) {
        double sum = 0;
        for (int k = 0; k < SIDE; k++) sum += left[i][k] * right[k][j];
        product[i][j] = sum + pass;
      }
  sink = (uint32_t)product[1][1];
}

static void string(void) {
  size_t length = 0, room = 16;
  char *text = malloc(room);
  for (int i = 0; i < PIECES; i++) {
    char piece[32];
    int bytes = snprintf(piece, sizeof piece, "piece %d, ", i);
    while (length + (size_t)bytes > room) text = realloc(text, room *= 2);
    memcpy(text + length, piece, (size_t)bytes);
    length += (size_t)bytes;
  }
  sink = (uint32_t)length + (uint32_t)text[length / 2];
  free(text);
}

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int main(int count, char **args) {
  static const struct {
    const char *name;
    void (*work)(void);
  } kinds[] = {{"sort", sort}, {"recursion", recursion}, {"matrix", matrix}, {"string", string}};
  if (count != 3) return 2;
  for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
    if (strcmp(args[1], kinds[kind].name) != 0) continue;
    for (int round = atoi(args[2]); round > 0; round--) {
      int64_t start = now();
      kinds[kind].work();
      printf("%s %lld\n", args[1], (long long)(now() - start));
    }
    return 0;
  }
  return 2;
}
