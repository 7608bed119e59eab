// Runs soup_choose on the host: numbers as arguments, arrays on standard input, what was chosen on standard output.
#define _POSIX_C_SOURCE 200809L

#include "arrays.h"
#include "block.h"
#include "../../kernels/choose.cu"

static unsigned *chosen;
static float *copies;
static void *logits;
static unsigned *orders, *changes;
static int wide;
static unsigned rows, vocabulary;

static void *body(void *thread) {
  threadIdx.x = (unsigned)(size_t)thread;
  soup_choose(chosen, copies, logits, orders, changes, wide, rows, vocabulary);
  return 0;
}

int main(int count, char **values) {
  if (count < 2) return 64;
  arguments = values + 2;
  unsigned blocks = number(), threads = number();
  wide = number(), rows = number(), vocabulary = number();
  size_t changed = number(), copied = number(), bytes = (wide ? 4 : 2) * (size_t)rows * vocabulary;
  logits = input(exact(bytes), bytes);
  orders = input(exact(4 * WORDS * rows), 4 * WORDS * rows);
  changes = input(exact(8 * changed), 8 * changed);
  copies = exact(4 * copied * vocabulary);
  chosen = exact(16 * rows);
  launch(blocks, threads, body);
  return fwrite(chosen, 1, 16 * rows, stdout) == 16 * rows ? 0 : 3;
}
