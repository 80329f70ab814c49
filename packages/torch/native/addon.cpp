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

}  // namespace craft

// Called once per environment, so that every worker thread has tables of its own.
NAPI_MODULE_INIT() {
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
