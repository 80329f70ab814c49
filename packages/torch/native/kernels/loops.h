// The inner loops, free of libtorch: this header and loops.cpp are compiled once per instruction set, and nothing of libtorch's
// inline code may end up compiled for a processor that this one is not.
#pragma once

#include <cstdint>

namespace craft {

enum class Type : uint8_t { f32, bf16, f64 };

// What one stretch of an AdamW update needs; the bias corrections are folded into `stepSize` and `eps`.
struct Update {
  double a, b;
  double decay;     // 1 - lr * weight decay
  double beta1, beta2;
  double stepSize;  // lr / (1 - beta1^t) * sqrt(1 - beta2^t)
  double eps;       // eps * sqrt(1 - beta2^t)
};

struct Buffers {
  void* p;
  const void* x;
  const void* y;  // null: one gradient
  void* m;
  void* v;
};

struct Loops {
  const char* name;
  // out[0..2] = <x, y>, <x, x>, <y, y>; without y only <x, x>, the others 0.
  void (*gram)(Type type, const void* x, const void* y, int64_t n, double* out);
  void (*sweep)(Type parameter, Type gradient, const Buffers& buffers, int64_t n, const Update& update);
};

extern const Loops plainLoops;
#if defined(__x86_64__)
extern const Loops avx2Loops;
extern const Loops avx512Loops;
#endif

}  // namespace craft
