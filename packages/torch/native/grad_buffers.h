#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

namespace craft {

// Caller-owned gradient memory for a list of parameters: while a buffer is active the parameters' gradients are its views,
// so a backward pass adds into them in place, and each parameter that received a gradient is marked.
class GradBuffers {
 public:
  int32_t create(std::vector<at::Tensor> parameters, std::vector<at::Tensor> views);
  void begin(int32_t id);
  std::vector<uint8_t> end(int32_t id);
  void remove(int32_t id);

 private:
  struct Marks {
    std::vector<uint8_t> reached;
    bool active = false;
  };
  struct Buffer {
    std::vector<at::Tensor> parameters;
    std::vector<at::Tensor> views;
    // A parameter holds its accumulator weakly: without these the hooks would vanish with the first graph.
    // The pointer's type differs between versions of libtorch.
    std::vector<decltype(torch::autograd::impl::grad_accumulator(std::declval<const at::Tensor&>()))> accumulators;
    std::vector<uintptr_t> hooks;
    std::shared_ptr<Marks> marks = std::make_shared<Marks>();
  };
  class MarkReached;

  std::unordered_map<int32_t, Buffer> buffers_;
  bool active_ = false;
  int32_t next_ = 0;
};

}  // namespace craft
