#include <ATen/SequenceNumber.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/variable.h>

#include "grad_buffers.h"
#include "napi.h"

namespace craft {

using torch::autograd::variable_list;

class GradBuffers::MarkReached : public torch::autograd::FunctionPostHook {
 public:
  MarkReached(std::shared_ptr<Marks> marks, size_t index) : marks_(std::move(marks)), index_(index) {}
  variable_list operator()(const variable_list& outputs, const variable_list& inputs) override {
    if (marks_->active && !inputs.empty() && inputs[0].defined()) marks_->reached[index_] = 1;
    return outputs;
  }

 private:
  std::shared_ptr<Marks> marks_;
  size_t index_;
};

int32_t GradBuffers::create(std::vector<at::Tensor> parameters, std::vector<at::Tensor> views) {
  TORCH_CHECK(parameters.size() == views.size(), "as many gradient views as parameters are needed");
  Buffer buffer;
  buffer.marks->reached.assign(parameters.size(), 0);
  for (size_t i = 0; i < parameters.size(); ++i) {
    TORCH_CHECK(parameters[i].is_leaf() && parameters[i].requires_grad(), "parameter ", i, " is no leaf that requires grad");
    auto accumulator = torch::autograd::impl::grad_accumulator(parameters[i]);
    buffer.hooks.push_back(accumulator->add_post_hook(std::make_unique<MarkReached>(buffer.marks, i)));
    buffer.accumulators.push_back(std::move(accumulator));
  }
  buffer.parameters = std::move(parameters);
  buffer.views = std::move(views);
  buffers_.emplace(next_, std::move(buffer));
  return next_++;
}

void GradBuffers::begin(int32_t id) {
  TORCH_CHECK(!active_, "two gradient buffers cannot collect at the same time");
  Buffer& buffer = buffers_.at(id);
  active_ = true;
  std::fill(buffer.marks->reached.begin(), buffer.marks->reached.end(), 0);
  buffer.marks->active = true;
  for (size_t i = 0; i < buffer.parameters.size(); ++i) buffer.parameters[i].mutable_grad() = buffer.views[i];
}

std::vector<uint8_t> GradBuffers::end(int32_t id) {
  Buffer& buffer = buffers_.at(id);
  buffer.marks->active = false;
  active_ = false;
  at::NoGradGuard noGrad;
  for (size_t i = 0; i < buffer.parameters.size(); ++i) {
    at::Tensor& gradient = buffer.parameters[i].mutable_grad();
    // A pass that records itself (createGraph) does not add in place but leaves a new tensor.
    if (gradient.defined() && !gradient.is_same(buffer.views[i])) buffer.views[i].copy_(gradient);
    gradient = at::Tensor();
  }
  return buffer.marks->reached;
}

void GradBuffers::remove(int32_t id) {
  auto found = buffers_.find(id);
  if (found == buffers_.end()) return;
  Buffer& buffer = found->second;
  for (size_t i = 0; i < buffer.hooks.size(); ++i) buffer.accumulators[i]->del_post_hook(buffer.hooks[i]);
  buffers_.erase(found);
}

// Refuses gradients at a leaf that stands for a part of the graph which is gone.
class RefuseGradient : public torch::autograd::FunctionPostHook {
 public:
  explicit RefuseGradient(std::string message) : message_(std::move(message)) {}
  variable_list operator()(const variable_list&, const variable_list&) override { TORCH_CHECK(false, message_); }

 private:
  std::string message_;
};

static variable_list tensorsArg(const CallArgs& args, size_t i) {
  variable_list tensors;
  if (!args.has(i)) return tensors;
  for (int64_t handle : toInts(args.env, args[i])) tensors.push_back(args.state->tensors.get(handle));
  return tensors;
}

// backward(outputs, gradients | null, retainGraph, createGraph)
CRAFT_FUNCTION(backward) {
  torch::autograd::backward(tensorsArg(args, 0), tensorsArg(args, 1), toBool(args.env, args[2]),
                            toBool(args.env, args[3]));
  return nullptr;
}

// grad(outputs, inputs, gradients | null, retainGraph, createGraph, allowUnused): handles, undefined where unused
CRAFT_FUNCTION(grad) {
  const variable_list grads =
      torch::autograd::grad(tensorsArg(args, 0), tensorsArg(args, 1), tensorsArg(args, 2), toBool(args.env, args[3]),
                            toBool(args.env, args[4]), toBool(args.env, args[5]));
  NewHandles made(args);
  napi_value array;
  check(napi_create_array_with_length(args.env, grads.size(), &array), "array");
  for (size_t i = 0; i < grads.size(); ++i) {
    check(napi_set_element(args.env, array, i, grads[i].defined() ? made.add(grads[i]) : undefined(args.env)),
          "array element");
  }
  return made.keep(array);
}

CRAFT_FUNCTION(requiresGrad) { return fromBool(args.env, tensorArg(args, 0).requires_grad()); }
CRAFT_FUNCTION(setRequiresGrad) {
  const at::Tensor tensor = tensorArg(args, 0);
  tensor.set_requires_grad(toBool(args.env, args[1]));
  return nullptr;
}
CRAFT_FUNCTION(isLeaf) { return fromBool(args.env, tensorArg(args, 0).is_leaf()); }

// refuseGradient(leaf, message): a later backward pass that reaches the leaf fails
CRAFT_FUNCTION(refuseGradient) {
  auto accumulator = torch::autograd::impl::grad_accumulator(tensorArg(args, 0));
  if (accumulator != nullptr) {
    accumulator->add_post_hook(std::make_unique<RefuseGradient>(toString(args.env, args[1])));
  }
  return nullptr;
}

// Recorded operations are numbered in order: sequenceNumber() is the next one's, gradSequence(tensor) that of the one which
// made the tensor (-1 for a leaf).
CRAFT_FUNCTION(sequenceNumber) { return fromInt(args.env, static_cast<int64_t>(at::sequence_number::peek())); }
CRAFT_FUNCTION(gradSequence) {
  const auto& node = tensorArg(args, 0).grad_fn();
  return fromInt(args.env, node == nullptr ? -1 : static_cast<int64_t>(node->sequence_nr()));
}

CRAFT_FUNCTION(getGrad) {
  // Not grad(), which prints a warning when the tensor is no leaf.
  const at::Tensor& gradient = tensorArg(args, 0).mutable_grad();
  return gradient.defined() ? newTensor(args, gradient) : undefined(args.env);
}
CRAFT_FUNCTION(setGrad) {
  const at::Tensor tensor = tensorArg(args, 0);
  tensor.mutable_grad() = args.has(1) ? tensorArg(args, 1) : at::Tensor();
  return nullptr;
}

// setData(parameter, tensor): the parameter keeps its identity and takes the other's memory.
CRAFT_FUNCTION(setData) {
  const at::Tensor tensor = tensorArg(args, 0);
  tensor.set_data(tensorArg(args, 1));
  return nullptr;
}

// setGradEnabled(on): returns what it was
CRAFT_FUNCTION(setGradEnabled) {
  const bool before = at::GradMode::is_enabled();
  at::GradMode::set_enabled(toBool(args.env, args[0]));
  return fromBool(args.env, before);
}

// beginGradWatch(), endGradWatch(): whether any operator in between was given a tensor that requires gradients, also where nothing
// was recorded. Watches nest.
CRAFT_FUNCTION(beginGradWatch) {
  args.state->gradWatches.push_back(0);
  return nullptr;
}
CRAFT_FUNCTION(endGradWatch) {
  auto& watches = args.state->gradWatches;
  TORCH_CHECK(!watches.empty(), "internal: no gradient watch is on");
  const bool seen = watches.back() != 0;
  watches.pop_back();
  if (seen && !watches.empty()) watches.back() = 1;
  return fromBool(args.env, seen);
}

CRAFT_FUNCTION(gradEnabled) { return fromBool(args.env, at::GradMode::is_enabled()); }

CRAFT_FUNCTION(gradBufferCreate) {
  return fromInt(args.env, args.state->gradBuffers->create(tensorsArg(args, 0), tensorsArg(args, 1)));
}
CRAFT_FUNCTION(gradBufferBegin) {
  args.state->gradBuffers->begin(toInt(args.env, args[0]));
  return nullptr;
}
CRAFT_FUNCTION(gradBufferEnd) {
  const std::vector<uint8_t> reached = args.state->gradBuffers->end(toInt(args.env, args[0]));
  napi_value array;
  check(napi_create_array_with_length(args.env, reached.size(), &array), "array");
  for (size_t i = 0; i < reached.size(); ++i) {
    check(napi_set_element(args.env, array, i, fromBool(args.env, reached[i] != 0)), "array element");
  }
  return array;
}
CRAFT_FUNCTION(gradBufferRemove) {
  args.state->gradBuffers->remove(toInt(args.env, args[0]));
  return nullptr;
}

void registerAutograd(napi_env env, napi_value exports) {
  exportFunction(env, exports, "backward", backward);
  exportFunction(env, exports, "grad", grad);
  exportFunction(env, exports, "requiresGrad", requiresGrad);
  exportFunction(env, exports, "setRequiresGrad", setRequiresGrad);
  exportFunction(env, exports, "isLeaf", isLeaf);
  exportFunction(env, exports, "refuseGradient", refuseGradient);
  exportFunction(env, exports, "sequenceNumber", sequenceNumber);
  exportFunction(env, exports, "gradSequence", gradSequence);
  exportFunction(env, exports, "getGrad", getGrad);
  exportFunction(env, exports, "setGrad", setGrad);
  exportFunction(env, exports, "setData", setData);
  exportFunction(env, exports, "setGradEnabled", setGradEnabled);
  exportFunction(env, exports, "beginGradWatch", beginGradWatch);
  exportFunction(env, exports, "endGradWatch", endGradWatch);
  exportFunction(env, exports, "gradEnabled", gradEnabled);
  exportFunction(env, exports, "gradBufferCreate", gradBufferCreate);
  exportFunction(env, exports, "gradBufferBegin", gradBufferBegin);
  exportFunction(env, exports, "gradBufferEnd", gradBufferEnd);
  exportFunction(env, exports, "gradBufferRemove", gradBufferRemove);
}

}  // namespace craft
