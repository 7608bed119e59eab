// Chooses the token after each row of logits, in what C and CUDA C have in common and without includes, as soup.cu is. A block
// for each row. Its threads share what is below, and everything that is summed is a whole number, so that no result depends on
// who came first: the same logits and the same draw give the same token, on a GPU, on the host and in the twin.

#ifndef KERNEL
#define KERNEL extern "C" __global__ void __launch_bounds__(1024)
#define DEVICE static __device__ __forceinline__
#define SHARED __shared__
#endif

// What src/choose/orders.rs knows too: words of a row's orders, what they say, and threads of a block, at most.
#define WORDS 13
#define LIKELIEST 0u
#define GIVEN 1u
#define NONE 0xffffffffu
#define THREADS 1024

// A key is a token's weight, as the bits of a float between 0 and 1, and behind it its id, the smaller the larger: keys are in
// the order of tokens, likeliest first, and no two are the same.
#define ID_BITS 24
#define KEY_BITS 54
#define DIGIT_BITS 9
#define BINS 512
#define GROUP 32

// What is told apart: nothing but NaN and infinity has this order.
#define NO_NUMBER 0xffffffffffffffffull

typedef unsigned long long u64;

struct Block {
  u64 partial[THREADS];
  // Sums of a bin in two halves, so that 32-bit additions do, which shared memory has by itself.
  unsigned low[BINS], high[BINS], count[BINS];
  u64 groups[BINS / GROUP];
  u64 left, key;
  unsigned bin;
};

// The values of a row and how they are weighed: exp((value - largest) inverse).
struct Weighing {
  const void *values;
  float largest, inverse;
  unsigned count;
  int wide;
};

// Minus zero is zero.
DEVICE float value_at(const void *values, unsigned id, int wide) {
  float value = wide ? ((const float *)values)[id] : __uint_as_float((unsigned)((const unsigned short *)values)[id] << 16);
  return __fadd_rn(value, 0.0f);
}

// e^x for x up to 0, zero below e^-87: by Cephes' polynomial, in operations that are the same everywhere.
DEVICE float exponential(float x) {
  if (!(x > -87.0f)) return 0.0f;
  float n = rintf(__fmul_rn(x, 1.44269504f));
  float r = __fmaf_rn(n, -0.693359375f, x);
  r = __fmaf_rn(n, 2.12194440e-4f, r);
  float p = __fmaf_rn(1.9875691500e-4f, r, 1.3981999507e-3f);
  p = __fmaf_rn(p, r, 8.3334519073e-3f);
  p = __fmaf_rn(p, r, 4.1665795894e-2f);
  p = __fmaf_rn(p, r, 1.6666665459e-1f);
  p = __fmaf_rn(p, r, 5.0000001201e-1f);
  p = __fadd_rn(__fmaf_rn(p, __fmul_rn(r, r), r), 1.0f);
  return __fmul_rn(p, __uint_as_float((unsigned)((int)n + 127) << 23));
}

// A weight in units of 2^-44: half a million of them fit 64 bits.
DEVICE u64 mass_of(float weight) {
  return (u64)__fmul_rn(weight, 17592186044416.0f);
}

DEVICE u64 key_at(struct Weighing w, unsigned id) {
  float x = __fmul_rn(__fadd_rn(value_at(w.values, id, w.wide), -w.largest), w.inverse);
  return (u64)__float_as_uint(exponential(x)) << ID_BITS | (((1u << ID_BITS) - 1u) - id);
}

DEVICE unsigned id_of(u64 key) {
  return ((1u << ID_BITS) - 1u) - (unsigned)(key & ((1u << ID_BITS) - 1u));
}

DEVICE u64 mass_in(u64 key) {
  return mass_of(__uint_as_float((unsigned)(key >> ID_BITS)));
}

// The sum, or the largest, of what all threads of the block have.
DEVICE u64 reduced(struct Block *b, u64 mine, int largest) {
  b->partial[threadIdx.x] = mine;
  __syncthreads();
  for (unsigned n = blockDim.x; n > 1;) {
    unsigned half = (n + 1) / 2;
    if (threadIdx.x < n - half) {
      u64 other = b->partial[threadIdx.x + half], own = b->partial[threadIdx.x];
      b->partial[threadIdx.x] = !largest ? own + other : own < other ? other : own;
    }
    __syncthreads();
    n = half;
  }
  u64 all = b->partial[0];
  __syncthreads();
  return all;
}

// Where the largest value is, the first of equal ones: its order in the upper half, its id inverted in the lower one. NO_NUMBER
// where a value is not finite.
DEVICE u64 likeliest(struct Block *b, const void *values, int wide, unsigned count) {
  u64 mine = 0;
#pragma unroll 4
  for (unsigned id = threadIdx.x; id < count; id += blockDim.x) {
    unsigned bits = __float_as_uint(value_at(values, id, wide));
    unsigned order = bits >> 31 ? ~bits : bits | 0x80000000u;
    u64 found = (bits & 0x7f800000u) == 0x7f800000u ? NO_NUMBER : (u64)order << 32 | (0xffffffffu - id);
    mine = mine < found ? found : mine;
  }
  return reduced(b, mine, 1);
}

DEVICE unsigned likeliest_id(u64 found) {
  return 0xffffffffu - (unsigned)found;
}

DEVICE float likeliest_value(u64 found) {
  unsigned order = (unsigned)(found >> 32);
  return __uint_as_float(order >> 31 ? order & 0x7fffffffu : ~order);
}

DEVICE u64 amount_in(struct Block *b, unsigned bin) {
  return (u64)b->high[bin] << 32 | b->low[bin];
}

// Adds to a bin; carries come at most once for each addition.
DEVICE void add(struct Block *b, unsigned bin, u64 amount) {
  unsigned low = (unsigned)amount, high = (unsigned)(amount >> 32);
  if (atomicAdd(&b->low[bin], low) > 0xffffffffu - low) high += 1;
  if (high) atomicAdd(&b->high[bin], high);
  atomicAdd(&b->count[bin], 1u);
}

// Sums up groups of bins. All threads see bins and groups after it.
DEVICE void sum_groups(struct Block *b) {
  __syncthreads();
  for (unsigned g = threadIdx.x; g < BINS / GROUP; g += blockDim.x) {
    u64 sum = 0;
    for (unsigned bin = g * GROUP; bin < (g + 1) * GROUP; bin++) sum += amount_in(b, bin);
    b->groups[g] = sum;
  }
  __syncthreads();
}

// The first bin, from the last one down, with which the sum exceeds `left`, and what is left of that in it. One thread.
DEVICE void walk(struct Block *b, u64 left) {
  unsigned g = BINS / GROUP - 1;
  while (g > 0 && b->groups[g] <= left) left -= b->groups[g--];
  unsigned bin = (g + 1) * GROUP - 1;
  while (bin > g * GROUP && amount_in(b, bin) <= left) left -= amount_in(b, bin--);
  b->bin = bin;
  b->left = left;
}

DEVICE u64 total_of(struct Block *b) {
  u64 total = 0;
  for (unsigned g = 0; g < BINS / GROUP; g++) total += b->groups[g];
  return total;
}

// How much goes before the token that is looked for, of `total`: a number of tokens; the part `number` / 2^64 of it; or as much
// as that part needs less than.
#define COUNT 0
#define PART 1
#define NEEDED 2
DEVICE u64 goal(int how, u64 number, u64 total) {
  u64 part = __umul64hi(number, total);
  if (how == COUNT) return number;
  return how == NEEDED && part > 0 && number * total == 0 ? part - 1 : part;
}

// What a key counts for among those from `cut` up.
DEVICE u64 amount_of(u64 key, u64 cut, int how) {
  return key < cut ? 0 : how == COUNT ? 1 : mass_in(key);
}

// The key with which tokens from the likeliest down exceed the goal; only those from `cut` up are there. Zero where nothing
// weighs anything. Nine bits of the key at a time, until one token alone has them.
DEVICE u64 descend(struct Block *b, struct Weighing w, u64 cut, int how, u64 number) {
  u64 prefix = 0;
  for (int shift = KEY_BITS - DIGIT_BITS;; shift -= DIGIT_BITS) {
    for (unsigned bin = threadIdx.x; bin < BINS; bin += blockDim.x) b->low[bin] = b->high[bin] = b->count[bin] = 0;
    __syncthreads();
#pragma unroll 4
    for (unsigned id = threadIdx.x; id < w.count; id += blockDim.x) {
      u64 key = key_at(w, id), amount = amount_of(key, cut, how);
      if (amount > 0 && key >> (shift + DIGIT_BITS) == prefix) add(b, (unsigned)(key >> shift) & (BINS - 1), amount);
    }
    sum_groups(b);
    if (threadIdx.x == 0) {
      int begins = shift == KEY_BITS - DIGIT_BITS;
      u64 total = total_of(b);
      b->key = 0;
      if (total > 0) walk(b, begins ? goal(how, number, total) : b->left);
      else b->bin = NONE;
    }
    __syncthreads();
    if (b->bin == NONE) break;
    prefix = prefix << DIGIT_BITS | b->bin;
    if (b->count[b->bin] == 1) {
      for (unsigned id = threadIdx.x; id < w.count; id += blockDim.x) {
        u64 key = key_at(w, id);
        if (key >> shift == prefix && amount_of(key, cut, how) > 0) b->key = key;
      }
      break;
    }
    __syncthreads();
  }
  __syncthreads();
  return b->key;
}

// The token with which all of them, in the order of their ids, exceed the part `draw` / 2^64; NONE where nothing weighs
// anything. Each bin is a piece of the vocabulary, the first one last.
DEVICE unsigned by_id(struct Block *b, struct Weighing w, u64 draw) {
  unsigned piece = (w.count + BINS - 1) / BINS;
  for (unsigned bin = threadIdx.x; bin < BINS; bin += blockDim.x) {
    unsigned start = (BINS - 1 - bin) * piece;
    u64 sum = 0;
    for (unsigned id = start; id < start + piece && id < w.count; id++) sum += mass_in(key_at(w, id));
    b->low[bin] = (unsigned)sum;
    b->high[bin] = (unsigned)(sum >> 32);
  }
  sum_groups(b);
  if (threadIdx.x == 0) {
    u64 total = total_of(b);
    b->key = NONE;
    if (total > 0) {
      walk(b, goal(PART, draw, total));
      unsigned id = (BINS - 1 - b->bin) * piece;
      u64 left = b->left;
      for (u64 mass = mass_in(key_at(w, id)); mass <= left; mass = mass_in(key_at(w, ++id))) left -= mass;
      b->key = id;
    }
  }
  __syncthreads();
  return (unsigned)b->key;
}

DEVICE u64 two_words(const unsigned *words) {
  return words[0] | (u64)words[1] << 32;
}

// Draws a token as the orders say; NONE where nothing weighs anything.
DEVICE unsigned drawn(struct Block *b, struct Weighing w, const unsigned *orders) {
  unsigned sorted = orders[3], top_k = orders[4], min_p = orders[5];
  u64 top_p = two_words(orders + 9), draw = two_words(orders + 11), cut = 0;
  if (!sorted) return by_id(b, w, draw);
  if (top_k > 0) cut = descend(b, w, 0, COUNT, top_k - 1);
  if (top_p > 0) cut = descend(b, w, cut, NEEDED, top_p);
  u64 least = (u64)min_p << ID_BITS;
  u64 key = descend(b, w, cut < least ? least : cut, PART, draw);
  return key > 0 ? id_of(key) : NONE;
}

// A row's values with what is added to some of them, and the penalty of those that were seen, in a copy.
DEVICE void adjust(float *copy, const void *values, int wide, unsigned count, const unsigned *orders,
                   const unsigned *changes) {
  for (unsigned id = threadIdx.x; id < count; id += blockDim.x) copy[id] = value_at(values, id, wide);
  __syncthreads();
  float penalty = __uint_as_float(orders[6]);
  for (unsigned at = orders[7] + threadIdx.x; at < orders[8]; at += blockDim.x) {
    unsigned id = changes[2 * at] >> 1, seen = changes[2 * at] & 1u;
    float value = __fadd_rn(copy[id], __uint_as_float(changes[2 * at + 1]));
    if (seen) value = value > 0.0f ? __fdiv_rn(value, penalty) : __fmul_rn(value, penalty);
    copy[id] = value;
  }
  __syncthreads();
}

// chosen (rows, 4): the token, how far its logit lies below the largest one, as a float, and the sum of all weights at
// temperature 1 in units of 2^-44, lower word first. NONE where a logit is not finite.
//
// logits (rows, vocabulary) bf16, or f32 where `wide`. orders (rows, WORDS): what to do, LIKELIEST, GIVEN or a draw; the given
// token, or where among the copies the row has its own; 1 / temperature; whether tokens are drawn in their order, likeliest
// first, rather than by their ids; top_k, zero for none; min_p; the penalty; the first of the row's changes and the one after
// the last; top_p, zero for none, and the draw, in units of 2^-64, lower word first. changes: twice a token's id, plus 1 if it
// was seen, and what is added; no token twice in a row. copies: room for the values of each row that has changes.
KERNEL soup_choose(unsigned *chosen, float *copies, const void *logits, const unsigned *orders, const unsigned *changes,
                   int wide, unsigned rows, unsigned vocabulary) {
  SHARED struct Block block;
  struct Block *b = &block;
  for (unsigned row = blockIdx.x; row < rows; row += gridDim.x) {
    const unsigned *own = orders + (u64)row * WORDS;
    u64 start = (u64)row * vocabulary;
    const void *values = wide ? (const void *)((const float *)logits + start)
                              : (const void *)((const unsigned short *)logits + start);
    u64 best = likeliest(b, values, wide, vocabulary);
    float largest = likeliest_value(best);
    unsigned id = best == NO_NUMBER ? NONE : own[0] == GIVEN ? own[1] : likeliest_id(best);
    u64 total = 0;
    if (id != NONE) {
      struct Weighing plain = {values, largest, 1.0f, vocabulary, wide};
      u64 mine = 0;
#pragma unroll 4
      for (unsigned at = threadIdx.x; at < vocabulary; at += blockDim.x) mine += mass_in(key_at(plain, at));
      total = reduced(b, mine, 0);
    }
    if (id != NONE && own[0] != GIVEN) {
      struct Weighing weighed = {values, largest, __uint_as_float(own[2]), vocabulary, wide};
      if (own[7] < own[8]) {
        float *copy = copies + (u64)own[1] * vocabulary;
        adjust(copy, values, wide, vocabulary, own, changes);
        best = likeliest(b, copy, 1, vocabulary);
        id = best == NO_NUMBER ? NONE : likeliest_id(best);
        weighed.values = copy;
        weighed.largest = likeliest_value(best);
        weighed.wide = 1;
      }
      if (id != NONE && own[0] != LIKELIEST) {
        unsigned found = drawn(b, weighed, own);
        if (found != NONE) id = found;
      }
    }
    if (threadIdx.x == 0) {
      float below = id == NONE ? 0.0f : __fadd_rn(value_at(values, id, wide), -largest);
      chosen[4 * row] = id;
      chosen[4 * row + 1] = __float_as_uint(below);
      chosen[4 * row + 2] = (unsigned)total;
      chosen[4 * row + 3] = (unsigned)(total >> 32);
    }
  }
}
