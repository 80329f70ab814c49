// What cannot go through the dispatcher: reading a tensor's description, moving numbers in and out of JavaScript buffers.
#include <ATen/ops/from_blob.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <cstring>

#include "napi.h"

namespace craft {

CRAFT_FUNCTION(release) {
  args.state->tensors.remove(toInt(args.env, args[0]));
  args.state->releaseBorrowed();
  return nullptr;
}

// releaseMany(handles: Int32Array, count): what a scope calls when it ends.
CRAFT_FUNCTION(releaseMany) {
  void* data = nullptr;
  size_t length = 0;
  check(napi_get_typedarray_info(args.env, args[0], nullptr, &length, &data, nullptr, nullptr), "expected Int32Array");
  const size_t count = std::min<size_t>(length, toInt(args.env, args[1]));
  const int32_t* handles = static_cast<const int32_t*>(data);
  for (size_t i = 0; i < count; ++i) args.state->tensors.remove(handles[i]);
  args.state->releaseBorrowed();
  return nullptr;
}

CRAFT_FUNCTION(shape) { return fromInts(args.env, tensorArg(args, 0).sizes()); }
CRAFT_FUNCTION(strides) { return fromInts(args.env, tensorArg(args, 0).strides()); }
CRAFT_FUNCTION(size) { return fromInt(args.env, tensorArg(args, 0).size(toInt(args.env, args[1]))); }
CRAFT_FUNCTION(dim) { return fromInt(args.env, tensorArg(args, 0).dim()); }
CRAFT_FUNCTION(numel) { return fromInt(args.env, tensorArg(args, 0).numel()); }
CRAFT_FUNCTION(dtype) { return fromInt(args.env, static_cast<int>(tensorArg(args, 0).scalar_type())); }
CRAFT_FUNCTION(device) { return fromString(args.env, tensorArg(args, 0).device().str()); }
CRAFT_FUNCTION(isContiguous) { return fromBool(args.env, tensorArg(args, 0).is_contiguous()); }
// ownBytes(tensor): what a view or an expanded tensor itself covers, not the whole storage behind it.
CRAFT_FUNCTION(ownBytes) {
  const at::Tensor& tensor = tensorArg(args, 0);
  return fromInt(args.env, tensor.has_storage() ? std::min(tensor.nbytes(), tensor.storage().nbytes()) : 0);
}
// useCount(tensor): holders of the tensor itself, other handles and recorded operations included.
CRAFT_FUNCTION(useCount) { return fromInt(args.env, tensorArg(args, 0).use_count()); }

// Another handle to the same tensor (same TensorImpl, so also the same autograd identity).
CRAFT_FUNCTION(alias) { return newTensor(args, tensorArg(args, 0)); }

CRAFT_FUNCTION(item) {
  const at::Scalar value = tensorArg(args, 0).item();
  if (value.isBoolean()) return fromBool(args.env, value.toBool());
  if (value.isIntegral(false)) return fromInt(args.env, value.toLong());
  return fromDouble(args.env, value.toDouble());
}

static size_t bytesPerElement(napi_typedarray_type type) {
  switch (type) {
    case napi_int16_array:
    case napi_uint16_array: return 2;
    case napi_int32_array:
    case napi_uint32_array:
    case napi_float32_array: return 4;
    case napi_float64_array:
    case napi_bigint64_array:
    case napi_biguint64_array: return 8;
    default: return 1;
  }
}

// fromBuffer(typedArray, shape, dtypeCode): a tensor over the array's own memory. The array is kept alive until libtorch
// lets go of the storage, which may happen on any thread (see BorrowedBuffers).
CRAFT_FUNCTION(fromBuffer) {
  void* data = nullptr;
  size_t length = 0;
  napi_typedarray_type type;
  check(napi_get_typedarray_info(args.env, args[0], &type, &length, &data, nullptr, nullptr), "expected a typed array");
  const std::vector<int64_t> shape = toInts(args.env, args[1]);
  const auto dtype = static_cast<at::ScalarType>(toInt(args.env, args[2]));
  size_t needed = c10::elementSize(dtype);
  for (int64_t extent : shape) needed *= extent;
  TORCH_CHECK(needed == length * bytesPerElement(type), "the array and the shape ", at::IntArrayRef(shape), " differ in size");
  napi_ref reference;
  check(napi_create_reference(args.env, args[0], 1, &reference), "reference");
  auto borrowed = args.state->borrowed;
  auto deleter = [borrowed, reference](void*) {
    std::lock_guard<std::mutex> lock(borrowed->mutex);
    borrowed->released.push_back(reference);
  };
  return newTensor(args, at::from_blob(data, shape, deleter, at::TensorOptions().dtype(dtype)));
}

// copyOut(handle, typedArray): contiguous bytes of a CPU tensor into an array of exactly as many bytes.
CRAFT_FUNCTION(copyOut) {
  const at::Tensor tensor = tensorArg(args, 0).detach().contiguous();
  void* data = nullptr;
  size_t bytes = 0;
  napi_typedarray_type type;
  check(napi_get_typedarray_info(args.env, args[1], &type, &bytes, &data, nullptr, nullptr), "expected a typed array");
  bytes *= bytesPerElement(type);
  TORCH_CHECK(tensor.device().is_cpu(), "the tensor is on ", tensor.device(), ", not in the computer's own memory");
  TORCH_CHECK(tensor.nbytes() == bytes, "the array has ", bytes, " bytes, the tensor ", tensor.nbytes());
  if (bytes > 0) std::memcpy(data, tensor.data_ptr(), bytes);
  return nullptr;
}

static std::pair<int32_t*, int64_t*> handlesAndPointers(const CallArgs& args, size_t* count) {
  void *handles = nullptr, *pointers = nullptr;
  size_t length = 0;
  check(napi_get_typedarray_info(args.env, args[0], nullptr, count, &handles, nullptr, nullptr), "expected Int32Array");
  check(napi_get_typedarray_info(args.env, args[1], nullptr, &length, &pointers, nullptr, nullptr), "expected BigInt64Array");
  TORCH_CHECK(*count == length, "as many pointers as handles are needed");
  return {static_cast<int32_t*>(handles), static_cast<int64_t*>(pointers)};
}

// dataPointers(handles: Int32Array, out: BigInt64Array): where the elements of tensors lie
CRAFT_FUNCTION(dataPointers) {
  size_t count = 0;
  const auto [handles, pointers] = handlesAndPointers(args, &count);
  for (size_t i = 0; i < count; ++i) pointers[i] = reinterpret_cast<int64_t>(args.state->tensors.get(handles[i]).data_ptr());
  return nullptr;
}
// firstMoved(handles: Int32Array, pointers: BigInt64Array): index of the first tensor whose elements lie elsewhere (or that is gone), -1: none
CRAFT_FUNCTION(firstMoved) {
  size_t count = 0;
  const auto [handles, pointers] = handlesAndPointers(args, &count);
  const auto& slots = args.state->tensors.slots();
  for (size_t i = 0; i < count; ++i) {
    const bool gone = handles[i] < 0 || static_cast<size_t>(handles[i]) >= slots.size() || !slots[handles[i]].defined();
    if (gone || reinterpret_cast<int64_t>(slots[handles[i]].data_ptr()) != pointers[i]) {
      return fromInt(args.env, static_cast<int64_t>(i));
    }
  }
  return fromInt(args.env, -1);
}

// memory(): [live handles, bytes of the distinct storages behind them].
CRAFT_FUNCTION(memory) {
  std::vector<std::pair<const void*, int64_t>> storages;
  for (const at::Tensor& tensor : args.state->tensors.slots()) {
    if (!tensor.defined() || !tensor.has_storage()) continue;
    storages.emplace_back(tensor.storage().unsafeGetStorageImpl(), tensor.storage().nbytes());
  }
  std::sort(storages.begin(), storages.end());
  storages.erase(std::unique(storages.begin(), storages.end()), storages.end());
  int64_t bytes = 0;
  for (const auto& storage : storages) bytes += storage.second;
  return fromInts(args.env, {args.state->tensors.live(), bytes});
}

void registerTensor(napi_env env, napi_value exports) {
  exportFunction(env, exports, "release", release);
  exportFunction(env, exports, "releaseMany", releaseMany);
  exportFunction(env, exports, "shape", shape);
  exportFunction(env, exports, "strides", strides);
  exportFunction(env, exports, "size", size);
  exportFunction(env, exports, "dim", dim);
  exportFunction(env, exports, "numel", numel);
  exportFunction(env, exports, "dtype", dtype);
  exportFunction(env, exports, "device", device);
  exportFunction(env, exports, "isContiguous", isContiguous);
  exportFunction(env, exports, "ownBytes", ownBytes);
  exportFunction(env, exports, "useCount", useCount);
  exportFunction(env, exports, "alias", alias);
  exportFunction(env, exports, "item", item);
  exportFunction(env, exports, "fromBuffer", fromBuffer);
  exportFunction(env, exports, "copyOut", copyOut);
  exportFunction(env, exports, "dataPointers", dataPointers);
  exportFunction(env, exports, "firstMoved", firstMoved);
  exportFunction(env, exports, "memory", memory);
}

}  // namespace craft
