#include "napi.h"

#include <c10/util/Exception.h>

#include <cmath>
#include <cstring>
#include <sstream>

namespace craft {

CallArgs::CallArgs(napi_env env, napi_callback_info info) : env(env) {
  void* data = nullptr;
  check(napi_get_cb_info(env, info, &count, values.data(), nullptr, &data), "arguments");
  state = static_cast<Env*>(data);
  if (state == nullptr) throw NapiFailure("no environment");
  if (count > kMaxArgs) throw NapiFailure("too many arguments");
}

bool CallArgs::has(size_t i) const { return i < count && !isNullish(env, values[i]); }

int64_t toInt(napi_env env, napi_value value) {
  double number = 0;
  if (napi_get_value_double(env, value, &number) == napi_ok) {
    // Node-API would cut 1.5 to 1 and turn NaN into 0.
    if (number == std::trunc(number) && std::abs(number) < 9223372036854775808.0) return static_cast<int64_t>(number);
    std::ostringstream message;
    message << "expected an integer, found " << number;
    throw NapiFailure(message.str());
  }
  int64_t result = 0;
  bool lossless = false;
  if (napi_get_value_bigint_int64(env, value, &result, &lossless) == napi_ok) {
    if (!lossless) throw NapiFailure("a BigInt does not fit 64 bits");
    return result;
  }
  bool truth = false;
  if (napi_get_value_bool(env, value, &truth) == napi_ok) return truth ? 1 : 0;
  throw NapiFailure("expected an integer");
}

uint64_t toSeed(napi_env env, napi_value value) {
  uint64_t result = 0;
  bool lossless = false;
  if (napi_get_value_bigint_uint64(env, value, &result, &lossless) == napi_ok && lossless) return result;
  return static_cast<uint64_t>(toInt(env, value));
}

double toDouble(napi_env env, napi_value value) {
  double result = 0;
  check(napi_get_value_double(env, value, &result), "expected a number");
  return result;
}

bool toBool(napi_env env, napi_value value) {
  bool result = false;
  check(napi_get_value_bool(env, value, &result), "expected a boolean");
  return result;
}

std::string toString(napi_env env, napi_value value) {
  size_t length = 0;
  check(napi_get_value_string_utf8(env, value, nullptr, 0, &length), "expected a string");
  std::string result(length, '\0');
  check(napi_get_value_string_utf8(env, value, result.data(), length + 1, &length), "expected a string");
  return result;
}

std::vector<int64_t> toInts(napi_env env, napi_value array) {
  uint32_t length = 0;
  check(napi_get_array_length(env, array, &length), "expected an array of integers");
  std::vector<int64_t> result(length);
  for (uint32_t i = 0; i < length; ++i) {
    napi_value element;
    check(napi_get_element(env, array, i, &element), "array element");
    result[i] = toInt(env, element);
  }
  return result;
}

bool isNullish(napi_env env, napi_value value) {
  napi_valuetype type;
  check(napi_typeof(env, value, &type), "typeof");
  return type == napi_undefined || type == napi_null;
}

napi_value fromInt(napi_env env, int64_t value) {
  napi_value result;
  if (value >= INT32_MIN && value <= INT32_MAX) {
    check(napi_create_int32(env, static_cast<int32_t>(value), &result), "number");
  } else if (value > 9007199254740991LL || value < -9007199254740991LL) {
    check(napi_create_bigint_int64(env, value, &result), "bigint");
  } else {
    check(napi_create_int64(env, value, &result), "number");
  }
  return result;
}

napi_value fromDouble(napi_env env, double value) {
  napi_value result;
  check(napi_create_double(env, value, &result), "number");
  return result;
}

napi_value fromBool(napi_env env, bool value) {
  napi_value result;
  check(napi_get_boolean(env, value, &result), "boolean");
  return result;
}

napi_value fromString(napi_env env, const std::string& value) {
  napi_value result;
  check(napi_create_string_utf8(env, value.data(), value.size(), &result), "string");
  return result;
}

napi_value fromInts(napi_env env, at::IntArrayRef values) {
  napi_value result;
  check(napi_create_array_with_length(env, values.size(), &result), "array");
  for (size_t i = 0; i < values.size(); ++i) {
    check(napi_set_element(env, result, i, fromInt(env, values[i])), "array element");
  }
  return result;
}

napi_value undefined(napi_env env) {
  napi_value result;
  check(napi_get_undefined(env, &result), "undefined");
  return result;
}

static void throwAs(Env* state, napi_ref errorClass, const std::string& message) {
  napi_env env = state->napi;
  napi_value constructor, text, error;
  if (errorClass != nullptr && napi_get_reference_value(env, errorClass, &constructor) == napi_ok &&
      napi_create_string_utf8(env, message.data(), message.size(), &text) == napi_ok &&
      napi_new_instance(env, constructor, 1, &text, &error) == napi_ok) {
    napi_throw(env, error);
  } else {
    napi_throw_error(env, nullptr, message.c_str());
  }
}

// Only libtorch's own sentence: what follows a newline is C++ source positions and back-traces.
static std::string sentence(const char* context, const char* text) {
  std::string message(context);
  if (!message.empty()) message += ": ";
  return message.append(text, std::strcspn(text, "\n"));
}

void throwCurrentException(Env* state, const char* context) noexcept {
  bool pending = false;
  napi_is_exception_pending(state->napi, &pending);
  if (pending) return;
  // Making the message may itself throw, for want of memory; an exception that left a catch block here would end the process.
  try {
    try {
      throw;
    } catch (const DisposedTensor& error) {
      throwAs(state, state->disposedError, sentence(context, error.what()));
    } catch (const c10::Error& error) {
      throwAs(state, state->torchError, sentence(context, error.what_without_backtrace()));
    } catch (const std::exception& error) {
      throwAs(state, state->torchError, sentence(context, error.what()));
    } catch (...) {
      throwAs(state, state->torchError, sentence(context, "unknown C++ exception"));
    }
  } catch (...) {
    napi_throw_error(state->napi, nullptr, "an error without a message: out of memory?");
  }
}

void exportFunction(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  void* state = nullptr;
  check(napi_get_instance_data(env, &state), "instance data");
  napi_value function;
  // The state comes along with every call, which is cheaper than asking for it.
  check(napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, state, &function), name);
  check(napi_set_named_property(env, exports, name, function), name);
}

}  // namespace craft
