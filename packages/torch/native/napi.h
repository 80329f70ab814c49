// The few helpers over plain Node-API that the addon needs.
#pragma once

#include <c10/util/SmallVector.h>

#include <array>
#include <string>
#include <vector>

#include "env.h"

namespace craft {

constexpr size_t kMaxArgs = 24;

// A Node-API call failed: either a JavaScript exception is already pending or an argument had the wrong type.
struct NapiFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void check(napi_status status, const char* what) {
  if (status != napi_ok) throw NapiFailure(what);
}

struct CallArgs {
  napi_env env;
  Env* state;
  size_t count = kMaxArgs;
  std::array<napi_value, kMaxArgs> values;

  CallArgs(napi_env env, napi_callback_info info);
  napi_value operator[](size_t i) const { return values[i]; }
  bool has(size_t i) const;  // present and neither undefined nor null
};

// Refuses fractions, NaN and what 64 bits cannot hold; booleans count as 0 and 1.
int64_t toInt(napi_env env, napi_value value);
uint64_t toSeed(napi_env env, napi_value value);
double toDouble(napi_env env, napi_value value);
bool toBool(napi_env env, napi_value value);
std::string toString(napi_env env, napi_value value);
std::vector<int64_t> toInts(napi_env env, napi_value array);
bool isNullish(napi_env env, napi_value value);

napi_value fromInt(napi_env env, int64_t value);
napi_value fromDouble(napi_env env, double value);
napi_value fromBool(napi_env env, bool value);
napi_value fromString(napi_env env, const std::string& value);
napi_value fromInts(napi_env env, at::IntArrayRef values);
napi_value undefined(napi_env env);

inline const at::Tensor& tensorArg(const CallArgs& args, size_t i) {
  return args.state->tensors.get(toInt(args.env, args[i]));
}
// Handles made for the results of one call: given back when the call fails before JavaScript has got to know them.
class NewHandles {
 public:
  explicit NewHandles(const CallArgs& args) : args_(args) {}
  NewHandles(const NewHandles&) = delete;
  ~NewHandles() {
    for (int32_t handle : made_) args_.state->tensors.remove(handle);
  }
  napi_value add(at::Tensor tensor) {
    made_.push_back(-1);
    made_.back() = args_.state->tensors.add(std::move(tensor));
    return fromInt(args_.env, made_.back());
  }
  napi_value keep(napi_value result) {
    made_.clear();
    return result;
  }

 private:
  const CallArgs& args_;
  c10::SmallVector<int32_t, 4> made_;
};

inline napi_value newTensor(const CallArgs& args, at::Tensor tensor) {
  NewHandles made(args);
  return made.keep(made.add(std::move(tensor)));
}

// Runs `body` and turns every C++ exception into a JavaScript one, after all C++ temporaries are gone.
// `describe` is only called on failure and says what was being attempted (operator, shapes).
void throwCurrentException(Env* state, const char* context) noexcept;

template <typename Body>
napi_value guarded(napi_env env, napi_callback_info info, const char* name, Body body) {
  Env* state = nullptr;
  try {
    CallArgs args(env, info);
    state = args.state;
    return body(args);
  } catch (...) {
    if (state == nullptr) {
      napi_throw_error(env, nullptr, "internal: the addon has no environment");
    } else {
      throwCurrentException(state, name);
    }
    return nullptr;
  }
}

// Declares a callback `napi_value NAME(env, info)` whose body sees `args`.
#define CRAFT_FUNCTION(NAME)                                                          \
  static napi_value NAME##Body(const ::craft::CallArgs& args);                        \
  static napi_value NAME(napi_env env, napi_callback_info info) {                     \
    return ::craft::guarded(env, info, #NAME, NAME##Body);                            \
  }                                                                                   \
  static napi_value NAME##Body([[maybe_unused]] const ::craft::CallArgs& args)

void exportFunction(napi_env env, napi_value exports, const char* name, napi_callback callback);

void registerDispatch(napi_env env, napi_value exports);
void registerTensor(napi_env env, napi_value exports);
void registerAutograd(napi_env env, napi_value exports);
void registerRuntime(napi_env env, napi_value exports);

}  // namespace craft
