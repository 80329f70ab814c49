#include <climits>
#include <cstdlib>
#include <mutex>

// Known once a header of the C library was read.
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "dispatch.h"
#include "grad_buffers.h"
#include "napi.h"

namespace craft {

Env::Env(napi_env env) : napi(env), ops(std::make_unique<OpTable>()), gradBuffers(std::make_unique<GradBuffers>()) {}
Env::~Env() = default;

void Env::releaseBorrowed() {
  std::vector<napi_ref> released;
  {
    std::lock_guard<std::mutex> lock(borrowed->mutex);
    released.swap(borrowed->released);
  }
  for (napi_ref reference : released) napi_delete_reference(napi, reference);
}

// Every training step frees what the next one allocates again. By default glibc gives freed memory back to the system, and the
// next step pays for each of its pages anew. Whoever has set glibc's own variables has decided otherwise.
static void keepFreedMemory() {
#ifdef __GLIBC__
  for (const char* name : {"GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"})
    if (std::getenv(name) != nullptr) return;
  // Older glibc take at most 32 MiB.
  if (mallopt(M_MMAP_THRESHOLD, 1 << 30) == 0) mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
#endif
}

}  // namespace craft

// Called once per environment, so that every worker thread has tables of its own.
NAPI_MODULE_INIT() {
  static std::once_flag first;
  std::call_once(first, craft::keepFreedMemory);
  auto* state = new craft::Env(env);
  napi_set_instance_data(
      env, state, [](napi_env, void* data, void*) { delete static_cast<craft::Env*>(data); }, nullptr);
  try {
    craft::registerDispatch(env, exports);
    craft::registerTensor(env, exports);
    craft::registerAutograd(env, exports);
    craft::registerRuntime(env, exports);
  } catch (const std::exception& error) {
    napi_throw_error(env, nullptr, error.what());
  }
  return exports;
}
