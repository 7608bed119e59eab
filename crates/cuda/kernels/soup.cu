// Kernels of soups, in what C and CUDA C have in common and without includes: nvcc, NVRTC and, behind tests/kernels/host.h, the
// compiler of the host read this same text. Each has a twin in src/ with the same order of operations.

#ifndef KERNEL
#define KERNEL extern "C" __global__ void
#define DEVICE static __device__ __forceinline__
#endif

// As many as a launch takes; src/axpy.rs knows it too.
#define SOURCES 32

struct Sources {
  const unsigned short *values[SOURCES];
  float weights[SOURCES];
};

DEVICE float from_bf16(unsigned short bits) {
  return __uint_as_float((unsigned)bits << 16);
}

// Rounds to the nearest, ties to even; what is no number stays none.
DEVICE unsigned short to_bf16(float value) {
  unsigned bits = __float_as_uint(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (unsigned short)(bits >> 16 | 0x40u);
  return (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// One of the eight values of a vector.
DEVICE float value_of(uint4 v, int i) {
  unsigned word = i < 2 ? v.x : i < 4 ? v.y : i < 6 ? v.z : v.w;
  return from_bf16((unsigned short)(word >> 16 * (i % 2)));
}

// acc + w x, or acc + w (x - anchor). A difference of zero leaves even the sign of a zero as it is.
DEVICE float add_term(float acc, float w, float x, float anchor, int toward) {
  if (!toward) return __fmaf_rn(w, x, acc);
  float difference = __fadd_rn(x, -anchor);
  return difference == 0.0f ? acc : __fmaf_rn(w, difference, acc);
}

// out = w0 x0 + sum_k w_k x_k, or toward: out = x0 + sum_k w_k (x_k - x0), over bf16, summed in f32 in the order of k and
// rounded once. `out` holds bf16, or f32 where `wide`. The first `vectors` groups of eight values are read 16 bytes at a
// time: all pointers are aligned to 16 bytes then. A grid of any size.
KERNEL soup_axpy(void *out, struct Sources s, int count, int toward, int wide, unsigned long long length,
                 unsigned long long vectors) {
  unsigned long long thread = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  unsigned long long threads = (unsigned long long)gridDim.x * blockDim.x;
  for (unsigned long long v = thread; v < vectors; v += threads) {
    float anchor[8], acc[8];
    uint4 first = ((const uint4 *)s.values[0])[v];
#pragma unroll
    for (int i = 0; i < 8; i++) {
      anchor[i] = value_of(first, i);
      acc[i] = toward ? anchor[i] : __fmul_rn(s.weights[0], anchor[i]);
    }
#pragma unroll 4
    for (int k = 1; k < count; k++) {
      uint4 read = ((const uint4 *)s.values[k])[v];
#pragma unroll
      for (int i = 0; i < 8; i++) acc[i] = add_term(acc[i], s.weights[k], value_of(read, i), anchor[i], toward);
    }
    if (wide) {
      uint4 low = {__float_as_uint(acc[0]), __float_as_uint(acc[1]), __float_as_uint(acc[2]), __float_as_uint(acc[3])};
      uint4 high = {__float_as_uint(acc[4]), __float_as_uint(acc[5]), __float_as_uint(acc[6]), __float_as_uint(acc[7])};
      ((uint4 *)out)[2 * v] = low;
      ((uint4 *)out)[2 * v + 1] = high;
    } else {
      unsigned words[4];
#pragma unroll
      for (int i = 0; i < 4; i++) words[i] = (unsigned)to_bf16(acc[2 * i]) | (unsigned)to_bf16(acc[2 * i + 1]) << 16;
      uint4 packed = {words[0], words[1], words[2], words[3]};
      ((uint4 *)out)[v] = packed;
    }
  }
  for (unsigned long long at = 8 * vectors + thread; at < length; at += threads) {
    float anchor = from_bf16(s.values[0][at]);
    float acc = toward ? anchor : __fmul_rn(s.weights[0], anchor);
    for (int k = 1; k < count; k++) acc = add_term(acc, s.weights[k], from_bf16(s.values[k][at]), anchor, toward);
    if (wide) ((float *)out)[at] = acc;
    else ((unsigned short *)out)[at] = to_bf16(acc);
  }
}

// What stands between A* and B*: u = z . g, the gate of each row spread over the ranks (docs/ARCHITECTURE.md).
//
// z and u are (rows, width) bf16, or f32 where `wide`. `mixes` is (rows, policies + 2): a row's weights, its strength, and
// 1 where its factors are averaged separately. `columns` is (3, width): the policy of each column; the first column of
// those that stand for the same rank of the same linear layer; the one after it, or -1.
KERNEL soup_gate(void *u, const void *z, const float *mixes, const int *columns, int wide, unsigned rows, unsigned width,
                 unsigned policies) {
  unsigned long long thread = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  unsigned long long threads = (unsigned long long)gridDim.x * blockDim.x;
  for (unsigned long long at = thread; at < (unsigned long long)rows * width; at += threads) {
    unsigned long long row = at / width;
    unsigned column = (unsigned)(at % width);
    const float *mix = mixes + row * (policies + 2);
    float gate = __fmul_rn(mix[columns[column]], mix[policies]);
    float value = 0.0f;
    // Zero is zero: an infinity of a policy that this row does not want stays out of it.
    if (gate != 0.0f) {
      unsigned long long start = row * width;
      if (mix[policies + 1] == 0.0f) {
        value = wide ? ((const float *)z)[at] : from_bf16(((const unsigned short *)z)[at]);
      } else {
        for (int j = columns[width + column]; j >= 0; j = columns[2 * width + j]) {
          float weight = mix[columns[j]];
          float x = wide ? ((const float *)z)[start + j] : from_bf16(((const unsigned short *)z)[start + j]);
          if (weight != 0.0f) value = __fmaf_rn(weight, x, value);
        }
      }
      value = __fmul_rn(value, gate);
    }
    if (wide) ((float *)u)[at] = value;
    else ((unsigned short *)u)[at] = to_bf16(value);
  }
}

// What stands between the gate and up projections and the down projection, which reads it:
// y = silu(x[:, :width]) . x[:, width:], x (rows, 2 width) as the packed projections leave it. bf16, or f32 where `wide`.
KERNEL soup_feed(void *y, const void *x, int wide, unsigned rows, unsigned width) {
  unsigned long long thread = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  unsigned long long threads = (unsigned long long)gridDim.x * blockDim.x;
  for (unsigned long long at = thread; at < (unsigned long long)rows * width; at += threads) {
    unsigned long long gate = at / width * 2 * width + at % width;
    float g = wide ? ((const float *)x)[gate] : from_bf16(((const unsigned short *)x)[gate]);
    float up = wide ? ((const float *)x)[gate + width] : from_bf16(((const unsigned short *)x)[gate + width]);
    float value = __fmul_rn(g / (1.0f + expf(-g)), up);
    if (wide) ((float *)y)[at] = value;
    else ((unsigned short *)y)[at] = to_bf16(value);
  }
}

// One value of an array of bf16, or of f32 where `wide`.
DEVICE float read_value(const void *values, unsigned long long at, int wide) {
  return wide ? ((const float *)values)[at] : from_bf16(((const unsigned short *)values)[at]);
}

// Keys or values of new positions, x (heads, rows, dim), to their places in the cache (heads, places, dim): slots (rows).
// Words of 32 bits: two values of bf16, one of f32; `dim` counts these.
KERNEL soup_store(unsigned *cache, const unsigned *x, const unsigned *slots, unsigned heads, unsigned rows, unsigned dim,
                  unsigned long long places) {
  unsigned long long thread = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  unsigned long long threads = (unsigned long long)gridDim.x * blockDim.x;
  for (unsigned long long at = thread; at < (unsigned long long)heads * rows * dim; at += threads) {
    unsigned long long head = at / dim / rows;
    cache[(head * places + slots[at / dim % rows]) * dim + at % dim] = x[at];
  }
}

// scores (queries, rows, context) f32: scale q . k of each query head's row, q (queries, rows, dim), with the keys at its
// places, keys (heads, places, dim), table (rows, context); minus infinity where the table has no place (its largest number).
// Each head of keys serves queries / heads neighbours. `vectors`: dim is of whole vectors of eight bf16, all aligned.
KERNEL soup_scores(float *scores, const void *q, const void *keys, const unsigned *table, float scale, int wide, int vectors,
                   unsigned queries, unsigned heads, unsigned rows, unsigned context, unsigned dim,
                   unsigned long long places) {
  unsigned long long thread = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  unsigned long long threads = (unsigned long long)gridDim.x * blockDim.x;
  for (unsigned long long at = thread; at < (unsigned long long)queries * rows * context; at += threads) {
    unsigned long long query = at / context;
    unsigned place = table[query % rows * context + at % context];
    float sum = 0.0f;
    if (place != 0xffffffffu) {
      unsigned long long key = (query / rows / (queries / heads) * places + place) * dim;
      if (vectors) {
        const uint4 *a = (const uint4 *)((const unsigned short *)q + query * dim);
        const uint4 *b = (const uint4 *)((const unsigned short *)keys + key);
        for (unsigned v = 0; v < dim / 8; v++) {
          uint4 x = a[v], y = b[v];
#pragma unroll
          for (int i = 0; i < 8; i++) sum = __fmaf_rn(value_of(x, i), value_of(y, i), sum);
        }
      } else {
        for (unsigned d = 0; d < dim; d++) {
          sum = __fmaf_rn(read_value(q, query * dim + d, wide), read_value(keys, key + d, wide), sum);
        }
      }
      sum = __fmul_rn(sum, scale);
    }
    scores[at] = place != 0xffffffffu ? sum : -__uint_as_float(0x7f800000u);
  }
}

// mixed (rows, queries x dim): the values at each row's places, by their shares (queries, rows, context) f32; in the order of
// the table, in f32, rounded once.
KERNEL soup_mix(void *mixed, const float *shares, const void *values, const unsigned *table, int wide, unsigned queries,
                unsigned heads, unsigned rows, unsigned context, unsigned dim, unsigned long long places) {
  unsigned long long thread = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
  unsigned long long threads = (unsigned long long)gridDim.x * blockDim.x;
  for (unsigned long long at = thread; at < (unsigned long long)rows * queries * dim; at += threads) {
    unsigned long long query = at / dim % queries, row = at / dim / queries;
    const unsigned *own = table + row * context;
    const float *share = shares + (query * rows + row) * context;
    unsigned long long start = query / (queries / heads) * places;
    float sum = 0.0f;
#pragma unroll 4
    for (unsigned i = 0; i < context; i++) {
      if (own[i] != 0xffffffffu) sum = __fmaf_rn(share[i], read_value(values, (start + own[i]) * dim + at % dim, wide), sum);
    }
    if (wide) ((float *)mixed)[at] = sum;
    else ((unsigned short *)mixed)[at] = to_bf16(sum);
  }
}
