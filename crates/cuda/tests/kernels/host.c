// Runs a kernel on the host: numbers as arguments, arrays on standard input, the result on standard output.
#include "arrays.h"
#include "host.h"
#include "../../kernels/soup.cu"

// `offset` bytes behind an aligned place.
static void *array(size_t bytes, size_t offset) {
  char *at = aligned_alloc(16, (bytes + offset + 15) / 16 * 16 + 16);
  if (!at) exit(3);
  return at + offset;
}

static int axpy(void) {
  unsigned blocks = number(), threads = number();
  int count = number(), toward = number(), wide = number();
  size_t length = number(), offset = number();
  struct Sources s = {{0}, {0}};
  for (int k = 0; k < count; k++) s.values[k] = input(offset ? array(2 * length, offset) : exact(2 * length), 2 * length);
  input(s.weights, sizeof(float) * count);
  size_t bytes = (wide ? 4 : 2) * length;
  void *out = exact(bytes);
  size_t vectors = offset ? 0 : length / 8;
  LAUNCH(blocks, threads, soup_axpy(out, s, count, toward, wide, length, vectors));
  return fwrite(out, 1, bytes, stdout) == bytes ? 0 : 3;
}

static int gate(void) {
  unsigned blocks = number(), threads = number();
  int wide = number();
  size_t rows = number(), width = number(), policies = number(), bytes = (wide ? 4 : 2) * rows * width;
  void *z = input(exact(bytes), bytes), *u = exact(bytes);
  float *mixes = input(exact(4 * rows * (policies + 2)), 4 * rows * (policies + 2));
  int *columns = input(exact(12 * width), 12 * width);
  LAUNCH(blocks, threads, soup_gate(u, z, mixes, columns, wide, rows, width, policies));
  return fwrite(u, 1, bytes, stdout) == bytes ? 0 : 3;
}

static int feed(void) {
  unsigned blocks = number(), threads = number();
  int wide = number();
  size_t rows = number(), width = number(), bytes = (wide ? 4 : 2) * rows * width;
  void *x = input(exact(2 * bytes), 2 * bytes), *y = exact(bytes);
  LAUNCH(blocks, threads, soup_feed(y, x, wide, rows, width));
  return fwrite(y, 1, bytes, stdout) == bytes ? 0 : 3;
}

static int store(void) {
  unsigned blocks = number(), threads = number();
  unsigned heads = number(), rows = number(), dim = number();
  size_t places = number(), bytes = 4 * heads * places * dim;
  unsigned *cache = input(exact(bytes), bytes);
  unsigned *x = input(exact(4 * heads * rows * dim), 4 * heads * rows * dim), *slots = input(exact(4 * rows), 4 * rows);
  LAUNCH(blocks, threads, soup_store(cache, x, slots, heads, rows, dim, places));
  return fwrite(cache, 1, bytes, stdout) == bytes ? 0 : 3;
}

static int scores(void) {
  unsigned blocks = number(), threads = number();
  int wide = number(), vectors = number();
  size_t queries = number(), heads = number(), rows = number(), context = number(), dim = number(), places = number();
  size_t size = wide ? 4 : 2, bytes = 4 * queries * rows * context;
  float scale;
  input(&scale, sizeof scale);
  void *q = input(exact(size * queries * rows * dim), size * queries * rows * dim);
  void *keys = input(exact(size * heads * places * dim), size * heads * places * dim);
  unsigned *table = input(exact(4 * rows * context), 4 * rows * context);
  float *out = exact(bytes);
  LAUNCH(blocks, threads,
         soup_scores(out, q, keys, table, scale, wide, vectors, queries, heads, rows, context, dim, places));
  return fwrite(out, 1, bytes, stdout) == bytes ? 0 : 3;
}

static int mix(void) {
  unsigned blocks = number(), threads = number();
  int wide = number();
  size_t queries = number(), heads = number(), rows = number(), context = number(), dim = number(), places = number();
  size_t size = wide ? 4 : 2, bytes = size * rows * queries * dim;
  float *shares = input(exact(4 * queries * rows * context), 4 * queries * rows * context);
  void *values = input(exact(size * heads * places * dim), size * heads * places * dim);
  unsigned *table = input(exact(4 * rows * context), 4 * rows * context);
  void *out = exact(bytes);
  LAUNCH(blocks, threads, soup_mix(out, shares, values, table, wide, queries, heads, rows, context, dim, places));
  return fwrite(out, 1, bytes, stdout) == bytes ? 0 : 3;
}

int main(int count, char **values) {
  if (count < 2) return 64;
  arguments = values + 2;
  if (!strcmp(values[1], "axpy")) return axpy();
  if (!strcmp(values[1], "gate")) return gate();
  if (!strcmp(values[1], "feed")) return feed();
  if (!strcmp(values[1], "store")) return store();
  if (!strcmp(values[1], "scores")) return scores();
  if (!strcmp(values[1], "mix")) return mix();
  return 64;
}
