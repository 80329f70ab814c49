// State of one JavaScript environment (the main thread or a worker): its table of tensors and what it was told at start.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/Generator.h>
#include <node_api.h>

#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace craft {

struct DisposedTensor : std::runtime_error {
  DisposedTensor() : std::runtime_error("a tensor was used after it was disposed of") {}
};

// Slots hold tensors under small integer handles. A handle is a plain number in JavaScript, which is what makes a call
// cheap: no object with a finaliser is made per result.
template <typename T>
class SlotTable {
 public:
  int32_t add(T value) {
    ++live_;
    if (!free_.empty()) {
      const int32_t handle = free_.back();
      free_.pop_back();
      slots_[handle] = std::move(value);
      return handle;
    }
    slots_.push_back(std::move(value));
    return static_cast<int32_t>(slots_.size() - 1);
  }

  const T& get(int64_t handle) const {
    if (handle < 0 || handle >= static_cast<int64_t>(slots_.size()) || !slots_[handle].defined()) {
      throw DisposedTensor();
    }
    return slots_[handle];
  }

  void remove(int64_t handle) {
    if (handle < 0 || handle >= static_cast<int64_t>(slots_.size()) || !slots_[handle].defined()) return;
    slots_[handle] = T();
    free_.push_back(static_cast<int32_t>(handle));
    --live_;
  }

  int64_t live() const { return live_; }
  const std::vector<T>& slots() const { return slots_; }

 private:
  std::vector<T> slots_;
  std::vector<int32_t> free_;
  int64_t live_ = 0;
};

// References to JavaScript buffers that tensors borrowed. libtorch may drop the last tensor on any thread, but a reference
// may only be deleted on the JavaScript thread: dropped ones queue here and are deleted at the next chance.
struct BorrowedBuffers {
  std::mutex mutex;
  std::vector<napi_ref> released;
};

class OpTable;
class GradBuffers;

struct Env {
  explicit Env(napi_env env);
  ~Env();

  napi_env napi;
  SlotTable<at::Tensor> tensors;
  SlotTable<at::Generator> generators;
  std::shared_ptr<BorrowedBuffers> borrowed = std::make_shared<BorrowedBuffers>();
  std::unique_ptr<OpTable> ops;
  std::unique_ptr<GradBuffers> gradBuffers;
  // One per watch that is on: whether an operator was given a tensor that requires gradients (see beginGradWatch).
  std::vector<uint8_t> gradWatches;
  napi_ref torchError = nullptr;
  napi_ref disposedError = nullptr;

  void releaseBorrowed();
};

}  // namespace craft
