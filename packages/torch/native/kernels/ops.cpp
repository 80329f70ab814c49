// craft::gram and craft::sweep, the two passes over memory of a CRaFT step, as operators of libtorch: any program that loads
// this library finds them in the dispatcher (`torch.ops.load_library` in Python). Tensors on the CPU only.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Optional.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>
#include <vector>

#include "loops.h"

namespace craft {
namespace {

// Work is cut at the same places whatever the number of threads, and partial sums are added up in order.
constexpr int64_t GRAM_CHUNK = 1 << 14;
constexpr int64_t SWEEP_CHUNK = 1 << 14;

bool supports(const std::string& level) {
  if (level == "plain") return true;
#if defined(__x86_64__)
  if (level == "avx2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (level == "avx512") {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  }
#endif
  return false;
}

const Loops* loopsNamed(const std::string& level) {
#if defined(__x86_64__)
  if (level == "avx512") return &avx512Loops;
  if (level == "avx2") return &avx2Loops;
#endif
  return &plainLoops;
}

const Loops* best() {
  for (const char* level : {"avx512", "avx2"}) {
    if (supports(level)) return loopsNamed(level);
  }
  return &plainLoops;
}

std::atomic<const Loops*>& current() {
  static std::atomic<const Loops*> loops{best()};
  return loops;
}

// kernel_level(wanted): chooses the instruction set (auto, plain, avx2, avx512; empty: leaves it) and names the one in use.
std::string kernelLevel(c10::string_view wanted) {
  const std::string level(wanted.data(), wanted.size());
  if (level == "auto") {
    current() = best();
  } else if (!level.empty()) {
    TORCH_CHECK(supports(level), "this processor or this build has no '", level, "' kernels: use auto or plain");
    current() = loopsNamed(level);
  }
  return current().load()->name;
}

Type typeOf(const at::Tensor& tensor, const char* name) {
  switch (tensor.scalar_type()) {
    case at::kFloat: return Type::f32;
    case at::kBFloat16: return Type::bf16;
    case at::kDouble: return Type::f64;
    default: TORCH_CHECK(false, name, " is ", tensor.scalar_type(), ": float32, bfloat16 and float64 are known");
  }
}

void checkFlat(const at::Tensor& tensor, const char* name, const at::Tensor& like) {
  TORCH_CHECK(tensor.dim() == 1 && tensor.is_contiguous(), name, " must be flat and contiguous, not ", tensor.sizes());
  TORCH_CHECK(tensor.numel() == like.numel(), name, " has ", tensor.numel(), " elements, the first tensor ", like.numel());
}

struct Piece {
  int64_t stretch, start, length;
};

std::vector<Piece> cut(at::IntArrayRef offsets, at::IntArrayRef lengths, int64_t size, int64_t chunk) {
  TORCH_CHECK(offsets.size() == lengths.size(), "as many lengths as offsets are needed");
  std::vector<Piece> pieces;
  for (size_t i = 0; i < offsets.size(); ++i) {
    const int64_t begin = offsets[i], end = begin + lengths[i];
    TORCH_CHECK(begin >= 0 && lengths[i] >= 0 && end <= size, "stretch ", i, " lies outside the tensor");
    for (int64_t start = begin; start < end; start += chunk) {
      pieces.push_back({static_cast<int64_t>(i), start, std::min(chunk, end - start)});
    }
  }
  return pieces;
}

template <typename Body>
void forEach(const std::vector<Piece>& pieces, const Body& body) {
  const auto range = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i, pieces[i]);
  };
#if defined(_OPENMP) || AT_PARALLEL_NATIVE
  at::parallel_for(0, static_cast<int64_t>(pieces.size()), 4, range);
#else
  range(0, static_cast<int64_t>(pieces.size()));
#endif
}

const char* at_(const at::Tensor& tensor, int64_t element) {
  return static_cast<const char*>(tensor.data_ptr()) + element * tensor.element_size();
}

at::Tensor gram(const at::Tensor& task, const c10::optional<at::Tensor>& retain, at::IntArrayRef offsets,
                at::IntArrayRef lengths) {
  const Type type = typeOf(task, "g_t");
  checkFlat(task, "g_t", task);
  const bool two = retain.has_value() && retain->defined();
  if (two) {
    checkFlat(*retain, "g_r", task);
    TORCH_CHECK(retain->scalar_type() == task.scalar_type() && retain->is_cpu(), "g_r must be as g_t is");
  }
  const auto pieces = cut(offsets, lengths, task.numel(), GRAM_CHUNK);
  std::vector<double> partial(3 * pieces.size());
  const Loops& loops = *current().load();
  forEach(pieces, [&](int64_t i, const Piece& piece) {
    loops.gram(type, at_(task, piece.start), two ? at_(*retain, piece.start) : nullptr, piece.length, &partial[3 * i]);
  });
  at::Tensor result = at::zeros({static_cast<int64_t>(offsets.size()), 3}, at::TensorOptions().dtype(at::kDouble));
  double* sums = result.data_ptr<double>();
  for (size_t i = 0; i < pieces.size(); ++i) {
    for (int k = 0; k < 3; ++k) sums[3 * pieces[i].stretch + k] += partial[3 * i + k];
  }
  return result;
}

void sweep(const at::Tensor& p, const at::Tensor& task, const c10::optional<at::Tensor>& retain, const at::Tensor& m,
           const at::Tensor& v, at::IntArrayRef offsets, at::IntArrayRef lengths, at::ArrayRef<double> a,
           at::ArrayRef<double> b, double scale, at::ArrayRef<double> lr, at::ArrayRef<double> weightDecay,
           at::IntArrayRef steps, double beta1, double beta2, double eps) {
  const Type parameter = typeOf(p, "p"), gradient = typeOf(task, "g_t"), state = typeOf(m, "m");
  checkFlat(p, "p", p);
  checkFlat(task, "g_t", p);
  checkFlat(m, "m", p);
  checkFlat(v, "v", p);
  const bool two = retain.has_value() && retain->defined();
  if (two) checkFlat(*retain, "g_r", p);
  TORCH_CHECK(!two || (retain->scalar_type() == task.scalar_type() && retain->is_cpu()), "g_r must be as g_t is");
  TORCH_CHECK(task.is_cpu() && m.is_cpu() && v.is_cpu(), "all tensors must be on the CPU");
  TORCH_CHECK(v.scalar_type() == m.scalar_type(), "m and v must have one dtype");
  const bool wide = parameter == Type::f64 && gradient == Type::f64 && state == Type::f64;
  const bool narrow = parameter != Type::f64 && gradient != Type::f64 && state == Type::f32;
  TORCH_CHECK(wide || narrow, "moments are float32, or float64 with everything else; found p ", p.scalar_type(), ", g_t ",
              task.scalar_type(), ", m ", m.scalar_type());
  const size_t count = offsets.size();
  TORCH_CHECK(a.size() == count && b.size() == count && lr.size() == count && weightDecay.size() == count &&
                  steps.size() == count,
              "a, b, lr, weight_decay and step need one number per stretch");
  std::vector<Update> updates;
  for (size_t i = 0; i < count; ++i) {
    const double t = static_cast<double>(steps[i]);
    const double root = std::sqrt(1 - std::pow(beta2, t));
    updates.push_back({a[i] * scale, b[i] * scale, 1 - lr[i] * weightDecay[i], beta1, beta2,
                       lr[i] / (1 - std::pow(beta1, t)) * root, eps * root});
  }
  const Loops& loops = *current().load();
  forEach(cut(offsets, lengths, p.numel(), SWEEP_CHUNK), [&](int64_t, const Piece& piece) {
    const auto mutableAt = [&](const at::Tensor& tensor) { return const_cast<char*>(at_(tensor, piece.start)); };
    const Buffers buffers{mutableAt(p), at_(task, piece.start), two ? at_(*retain, piece.start) : nullptr, mutableAt(m),
                          mutableAt(v)};
    loops.sweep(parameter, gradient, buffers, piece.length, updates[piece.stretch]);
  });
  for (const at::Tensor* written : {&p, &m, &v}) {
    if (!written->is_inference()) written->unsafeGetTensorImpl()->bump_version();
  }
}

}  // namespace
}  // namespace craft

TORCH_LIBRARY(craft, library) {
  library.def("gram(Tensor g_t, Tensor? g_r, int[] offset, int[] length) -> Tensor");
  library.def(
      "sweep(Tensor(a!) p, Tensor g_t, Tensor? g_r, Tensor(b!) m, Tensor(c!) v, int[] offset, int[] length, float[] a, "
      "float[] b, float scale, float[] lr, float[] weight_decay, int[] step, float beta1, float beta2, float eps) -> ()");
  library.def("kernel_level(str wanted) -> str", craft::kernelLevel);
}

TORCH_LIBRARY_IMPL(craft, CPU, library) {
  library.impl("gram", craft::gram);
  library.impl("sweep", craft::sweep);
}
