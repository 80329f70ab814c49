#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <memory>
#include <unordered_map>

#include "napi.h"

namespace craft {

enum class ArgKind : uint8_t {
  Tensor, Scalar, Int, Float, Bool, String, Device, Generator,
  TensorList, OptionalTensorList, IntList, FloatList, BoolList, ScalarList,
  Unsupported,
};

struct ArgSpec {
  ArgKind kind = ArgKind::Unsupported;
  bool optional = false;
  int32_t size = 1;  // of a list that may be given as one number, as int[2] in `stride=1`
};

// An operator with what is read from its schema once.
struct Op {
  explicit Op(c10::OperatorHandle handle);
  c10::OperatorHandle handle;
  std::vector<ArgSpec> args;
  bool passesGradient = true;  // false for detach
  bool returnsSelf = false;
  bool returnsVoid = false;
};

class OpTable {
 public:
  // The number of an operator; one that this libtorch lacks gets a number too, and `at` throws.
  int32_t declare(const std::string& name, const std::string& overload);
  const Op& at(int64_t id) const;

 private:
  std::vector<std::unique_ptr<Op>> ops_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, int32_t> index_;
};

}  // namespace craft
