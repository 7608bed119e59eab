// Lets the host's C compiler read kernels whose threads work together: each thread of a block is one of the host's, blocks come
// one after the other. What they share has one copy, so the thread sanitizer sees who writes what another one reads without a
// barrier in between.
#include <pthread.h>

#include "host.h"

#define SHARED static

// Two in turn: what a thread does behind a barrier, before another one wakes up from it, must not look as if it had come before.
static pthread_barrier_t barriers[2];
static _Thread_local unsigned passed;

static inline void __syncthreads(void) { pthread_barrier_wait(&barriers[passed++ % 2]); }
static inline unsigned atomicAdd(unsigned *to, unsigned x) { return __atomic_fetch_add(to, x, __ATOMIC_RELAXED); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)((unsigned __int128)a * b >> 64);
}

// Runs `body`, which launches the kernel, as every thread of every block.
static void launch(unsigned blocks, unsigned threads, void *(*body)(void *)) {
  pthread_t running[64];
  if (threads > 64) exit(3);
  gridDim.x = blocks, blockDim.x = threads;
  for (int i = 0; i < 2; i++) pthread_barrier_init(&barriers[i], 0, threads);
  for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++) {
    for (size_t i = 0; i < threads; i++) {
      if (pthread_create(&running[i], 0, body, (void *)i)) exit(3);
    }
    for (size_t i = 0; i < threads; i++) pthread_join(running[i], 0);
  }
}
