// Lets the host's C compiler read the kernels: a grid is a loop, one thread after the other. That holds for kernels whose
// threads share nothing, as those of soup.cu are; block.h is for the others.
#include <math.h>
#include <string.h>

#define KERNEL static void
#define DEVICE static inline

struct dimension { unsigned x, y, z; };
static _Thread_local struct dimension threadIdx;
static struct dimension blockIdx, blockDim = {1, 1, 1}, gridDim = {1, 1, 1};

// Aligned, so that the sanitizer sees what a GPU would refuse.
typedef struct { unsigned x, y, z, w; } __attribute__((aligned(16))) uint4;

static inline float __uint_as_float(unsigned bits) { float f; memcpy(&f, &bits, sizeof f); return f; }
static inline unsigned __float_as_uint(float f) { unsigned bits; memcpy(&bits, &f, sizeof bits); return bits; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }

#define LAUNCH(blocks, threads, call)                                    \
  do {                                                                   \
    gridDim.x = (blocks), blockDim.x = (threads);                        \
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++)           \
      for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++) call; \
  } while (0)
