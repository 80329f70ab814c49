// Compiled once per instruction set: CRAFT_LOOPS names the table that this object defines.
//
// Every instruction set gives the same bits. The order of the sums is fixed by LANES, a product of two float32 is exact in
// float64, and the compiler is told not to contract a*b+c, so that vectors only change how many elements go at once.
#include "loops.h"

#include <cstring>

namespace craft {
namespace {

struct bf16 {
  uint16_t bits;
};

// Doubles of one vector: as wide as the registers, since a compiler makes poor code of wider ones.
#if defined(__AVX512F__)
constexpr int WIDTH = 8;
#elif defined(__AVX__)
constexpr int WIDTH = 4;
#else
constexpr int WIDTH = 2;
#endif
constexpr int LANES = 16;
constexpr int VECTORS = LANES / WIDTH;

typedef double DoubleVec __attribute__((vector_size(WIDTH * 8)));
typedef float FloatVec __attribute__((vector_size(WIDTH * 4)));
typedef uint32_t WordVec __attribute__((vector_size(WIDTH * 4)));
typedef uint16_t HalfVec __attribute__((vector_size(WIDTH * 2)));

template <typename To, typename From>
inline To bitCast(From from) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

template <typename Vec>
inline Vec load(const void* at) {
  Vec vec;
  std::memcpy(&vec, at, sizeof vec);
  return vec;
}

inline DoubleVec widen(const float* at) { return __builtin_convertvector(load<FloatVec>(at), DoubleVec); }
inline DoubleVec widen(const double* at) { return load<DoubleVec>(at); }
inline DoubleVec widen(const bf16* at) {
  const WordVec words = __builtin_convertvector(load<HalfVec>(at), WordVec) << 16;
  return __builtin_convertvector(bitCast<FloatVec>(words), DoubleVec);
}

struct Sums {
  DoubleVec xy[VECTORS] = {};
  DoubleVec xx[VECTORS] = {};
  DoubleVec yy[VECTORS] = {};
};

template <typename T, bool two>
inline void add(Sums& sums, const T* x, const T* y) {
  for (int i = 0; i < VECTORS; ++i) {
    const DoubleVec a = widen(x + i * WIDTH);
    sums.xx[i] += a * a;
    if (!two) continue;
    const DoubleVec b = widen(y + i * WIDTH);
    sums.xy[i] += a * b;
    sums.yy[i] += b * b;
  }
}

inline double total(const DoubleVec (&vectors)[VECTORS]) {
  double lanes[LANES];
  std::memcpy(lanes, vectors, sizeof lanes);
  for (int width = LANES / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

template <typename T, bool two>
void gramOf(const void* xs, const void* ys, int64_t n, double* out) {
  const T* x = static_cast<const T*>(xs);
  const T* y = static_cast<const T*>(ys);
  Sums sums;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) add<T, two>(sums, x + i, y + i);
  if (i < n) {
    T rest[2][LANES] = {};
    std::memcpy(rest[0], x + i, (n - i) * sizeof(T));
    if (two) std::memcpy(rest[1], y + i, (n - i) * sizeof(T));
    add<T, two>(sums, rest[0], rest[1]);
  }
  out[0] = total(sums.xy);
  out[1] = total(sums.xx);
  out[2] = total(sums.yy);
}

void gram(Type type, const void* x, const void* y, int64_t n, double* out) {
  const bool two = y != nullptr;
  switch (type) {
    case Type::f32: return two ? gramOf<float, true>(x, y, n, out) : gramOf<float, false>(x, y, n, out);
    case Type::bf16: return two ? gramOf<bf16, true>(x, y, n, out) : gramOf<bf16, false>(x, y, n, out);
    case Type::f64: return two ? gramOf<double, true>(x, y, n, out) : gramOf<double, false>(x, y, n, out);
  }
}

inline float read(float value) { return value; }
inline double read(double value) { return value; }
inline float read(bf16 value) { return bitCast<float>(static_cast<uint32_t>(value.bits) << 16); }

inline void write(float& to, float value) { to = value; }
inline void write(double& to, double value) { to = value; }
inline void write(bf16& to, float value) {
  const uint32_t bits = bitCast<uint32_t>(value);
  const uint32_t nearestEven = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t nan = 0x7fc0u;
  to.bits = static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? nan : nearestEven);
}

inline float root(float value) { return __builtin_sqrtf(value); }
inline double root(double value) { return __builtin_sqrt(value); }

// P parameters, G gradients, S moments and arithmetic.
template <typename P, typename G, typename S, bool two>
void sweepOf(const Buffers& buffers, int64_t n, const Update& update) {
  P* __restrict p = static_cast<P*>(buffers.p);
  const G* __restrict x = static_cast<const G*>(buffers.x);
  const G* __restrict y = static_cast<const G*>(buffers.y);
  S* __restrict m = static_cast<S*>(buffers.m);
  S* __restrict v = static_cast<S*>(buffers.v);
  const S a = update.a, b = update.b, decay = update.decay;
  const S beta1 = update.beta1, rest1 = 1 - update.beta1;
  const S beta2 = update.beta2, rest2 = 1 - update.beta2;
  const S stepSize = update.stepSize, eps = update.eps;
  for (int64_t i = 0; i < n; ++i) {
    const S g = two ? a * read(x[i]) + b * read(y[i]) : a * read(x[i]);
    const S first = beta1 * m[i] + rest1 * g;
    const S second = beta2 * v[i] + rest2 * g * g;
    m[i] = first;
    v[i] = second;
    write(p[i], decay * read(p[i]) - stepSize * first / (root(second) + eps));
  }
}

template <typename P, typename G, typename S>
void sweepSides(const Buffers& buffers, int64_t n, const Update& update) {
  if (buffers.y != nullptr) sweepOf<P, G, S, true>(buffers, n, update);
  else sweepOf<P, G, S, false>(buffers, n, update);
}

void sweep(Type parameter, Type gradient, const Buffers& buffers, int64_t n, const Update& update) {
  if (parameter == Type::f64) return sweepSides<double, double, double>(buffers, n, update);
  if (parameter == Type::f32) {
    if (gradient == Type::f32) return sweepSides<float, float, float>(buffers, n, update);
    return sweepSides<float, bf16, float>(buffers, n, update);
  }
  if (gradient == Type::f32) return sweepSides<bf16, float, float>(buffers, n, update);
  return sweepSides<bf16, bf16, float>(buffers, n, update);
}

#define CRAFT_TEXT_OF(name) #name
#define CRAFT_TEXT(name) CRAFT_TEXT_OF(name)

}  // namespace

#define CRAFT_TABLE_OF(level) level##Loops
#define CRAFT_TABLE(level) CRAFT_TABLE_OF(level)
extern const Loops CRAFT_TABLE(CRAFT_LEVEL) = {CRAFT_TEXT(CRAFT_LEVEL), gram, sweep};

}  // namespace craft
