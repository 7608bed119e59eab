// Numbers from the command line, arrays from standard input. Arrays have the very length that they need, so that the sanitizer
// sees a step over their ends.
#include <stdio.h>
#include <stdlib.h>

static char **arguments;

static unsigned long long number(void) { return strtoull(*arguments++, 0, 10); }

// The last byte is the last of its allocation.
static void *exact(size_t bytes) {
  void *at = malloc(bytes ? bytes : 1);
  if (!at) exit(3);
  return at;
}

static void *input(void *at, size_t bytes) {
  if (fread(at, 1, bytes, stdin) != bytes) exit(3);
  return at;
}
