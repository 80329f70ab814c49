// Calls any libtorch operator by name: arguments are converted by the operator's own schema and the call goes boxed through
// c10's dispatcher, so autograd, every backend and every custom operator come along.
#include "dispatch.h"

#include <ATen/core/jit_type.h>
#include <c10/core/Device.h>
#include <torch/version.h>

#include <cmath>

#include <sstream>

namespace craft {

using c10::IValue;
using c10::TypeKind;

static ArgKind scalarKind(const c10::Type& type) {
  switch (type.kind()) {
    case TypeKind::TensorType: return ArgKind::Tensor;
    case TypeKind::NumberType: return ArgKind::Scalar;
    case TypeKind::IntType:
    case TypeKind::SymIntType:
    case TypeKind::ScalarTypeType:
    case TypeKind::LayoutType:
    case TypeKind::MemoryFormatType: return ArgKind::Int;
    case TypeKind::FloatType: return ArgKind::Float;
    case TypeKind::BoolType: return ArgKind::Bool;
    case TypeKind::StringType: return ArgKind::String;
    case TypeKind::DeviceObjType: return ArgKind::Device;
    case TypeKind::GeneratorType: return ArgKind::Generator;
    default: return ArgKind::Unsupported;
  }
}

static ArgSpec specOf(const c10::Argument& argument) {
  ArgSpec spec;
  const c10::Type* type = argument.type().get();
  if (type->kind() == TypeKind::OptionalType) {
    spec.optional = true;
    type = type->castRaw<c10::OptionalType>()->getElementType().get();
  }
  if (type->kind() == TypeKind::ListType) {
    const c10::Type* element = type->castRaw<c10::ListType>()->getElementType().get();
    spec.size = argument.N().value_or(1);
    if (element->kind() == TypeKind::OptionalType) {
      spec.kind = ArgKind::OptionalTensorList;
      return spec;
    }
    switch (scalarKind(*element)) {
      case ArgKind::Tensor: spec.kind = ArgKind::TensorList; break;
      case ArgKind::Int: spec.kind = ArgKind::IntList; break;
      case ArgKind::Float: spec.kind = ArgKind::FloatList; break;
      case ArgKind::Bool: spec.kind = ArgKind::BoolList; break;
      case ArgKind::Scalar: spec.kind = ArgKind::ScalarList; break;
      default: spec.kind = ArgKind::Unsupported;
    }
    return spec;
  }
  spec.kind = scalarKind(*type);
  return spec;
}

Op::Op(c10::OperatorHandle handle) : handle(std::move(handle)) {
  const c10::FunctionSchema& schema = this->handle.schema();
  for (const c10::Argument& argument : schema.arguments()) args.push_back(specOf(argument));
  passesGradient = schema.name() != "aten::detach";
  // An in-place operator returns the tensor it was given: the caller has a handle to it already.
  const auto& returns = schema.returns();
  returnsSelf = returns.size() == 1 && returns[0].alias_info() != nullptr && returns[0].alias_info()->isWrite();
  returnsVoid = returns.empty();
}

int32_t OpTable::declare(const std::string& name, const std::string& overload) {
  const std::string key = overload.empty() ? name : name + "." + overload;
  auto known = index_.find(key);
  if (known != index_.end()) return known->second;
  auto handle = c10::Dispatcher::singleton().findSchema({name, overload});
  if (handle.has_value()) {
    ops_.emplace_back(std::make_unique<Op>(*handle));
  } else {
    ops_.emplace_back(nullptr);
  }
  const int32_t id = static_cast<int32_t>(ops_.size() - 1);
  names_.push_back(key);
  index_[key] = id;
  return id;
}

const Op& OpTable::at(int64_t id) const {
  TORCH_CHECK(id >= 0 && id < static_cast<int64_t>(ops_.size()), "internal: there is no operator ", id);
  TORCH_CHECK(ops_[id] != nullptr, names_[id], " is not in libtorch " TORCH_VERSION "; another version has it");
  return *ops_[id];
}

static at::Scalar toScalar(napi_env env, napi_value value) {
  napi_valuetype type;
  check(napi_typeof(env, value, &type), "typeof");
  if (type == napi_boolean) return at::Scalar(toBool(env, value));
  if (type == napi_bigint) return at::Scalar(toInt(env, value));
  // JavaScript has one number type: whole numbers become integers so that integer tensors stay integer, all others doubles.
  const double number = toDouble(env, value);
  const bool whole = number == std::trunc(number) && std::abs(number) <= 9007199254740991.0;
  if (whole && !(number == 0 && std::signbit(number))) return at::Scalar(static_cast<int64_t>(number));
  return at::Scalar(number);
}

template <typename Convert>
static void forEach(napi_env env, napi_value array, Convert convert) {
  uint32_t length = 0;
  check(napi_get_array_length(env, array, &length), "expected an array");
  for (uint32_t i = 0; i < length; ++i) {
    napi_value element;
    check(napi_get_element(env, array, i, &element), "array element");
    convert(element);
  }
}

static IValue toList(const CallArgs& args, const ArgSpec& spec, napi_value value) {
  napi_env env = args.env;
  const auto& tensors = args.state->tensors;
  bool isArray = false;
  check(napi_is_array(env, value, &isArray), "array");
  switch (spec.kind) {
    case ArgKind::TensorList: {
      c10::List<at::Tensor> list;
      forEach(env, value, [&](napi_value v) { list.push_back(tensors.get(toInt(env, v))); });
      return list;
    }
    case ArgKind::OptionalTensorList: {
      c10::List<c10::optional<at::Tensor>> list;
      forEach(env, value, [&](napi_value v) {
        list.push_back(isNullish(env, v) ? c10::optional<at::Tensor>() : tensors.get(toInt(env, v)));
      });
      return list;
    }
    case ArgKind::IntList: {
      if (!isArray) return c10::List<int64_t>(std::vector<int64_t>(spec.size, toInt(env, value)));
      c10::List<int64_t> list;
      forEach(env, value, [&](napi_value v) { list.push_back(toInt(env, v)); });
      return list;
    }
    case ArgKind::FloatList: {
      c10::List<double> list;
      forEach(env, value, [&](napi_value v) { list.push_back(toDouble(env, v)); });
      return list;
    }
    case ArgKind::BoolList: {
      c10::List<bool> list;
      forEach(env, value, [&](napi_value v) { list.push_back(toBool(env, v)); });
      return list;
    }
    default: {
      c10::List<at::Scalar> list;
      forEach(env, value, [&](napi_value v) { list.push_back(toScalar(env, v)); });
      return list;
    }
  }
}

static IValue toIValue(const CallArgs& args, const ArgSpec& spec, napi_value value) {
  napi_env env = args.env;
  switch (spec.kind) {
    case ArgKind::Tensor: {
      // The common case first: one call that both checks the type and reads the handle.
      int32_t handle;
      if (napi_get_value_int32(env, value, &handle) == napi_ok) return args.state->tensors.get(handle);
      if (spec.optional && isNullish(env, value)) return IValue();
      throw NapiFailure("expected a tensor");
    }
    case ArgKind::Scalar: return toScalar(env, value);
    case ArgKind::Int: return toInt(env, value);
    case ArgKind::Float: return toDouble(env, value);
    case ArgKind::Bool: return toBool(env, value);
    case ArgKind::String: return toString(env, value);
    case ArgKind::Device: return c10::Device(toString(env, value));
    case ArgKind::Generator: return args.state->generators.get(toInt(env, value));
    case ArgKind::Unsupported: throw NapiFailure("this operator has an argument type the binding does not convert");
    default: return toList(args, spec, value);
  }
}

static napi_value fromIValue(const CallArgs& args, IValue value, NewHandles& made) {
  napi_env env = args.env;
  if (value.isTensor()) {
    at::Tensor tensor = std::move(value).toTensor();
    return tensor.defined() ? made.add(std::move(tensor)) : undefined(env);
  }
  if (value.isInt()) return fromInt(env, value.toInt());
  if (value.isDouble()) return fromDouble(env, value.toDouble());
  if (value.isBool()) return fromBool(env, value.toBool());
  if (value.isString()) return fromString(env, value.toStringRef());
  if (value.isNone()) return undefined(env);
  if (value.isList()) {
    napi_value array;
    auto list = value.toListRef();
    check(napi_create_array_with_length(env, list.size(), &array), "array");
    for (size_t i = 0; i < list.size(); ++i) {
      check(napi_set_element(env, array, i, fromIValue(args, list[i], made)), "array element");
    }
    return array;
  }
  throw NapiFailure("this operator returns a type the binding does not convert");
}

// What was attempted, for a message. It is made inside a catch, where nothing may be thrown: a tensor that has no shape (a nested one) is
// left out, and where not even that works the message does without.
static std::string describe(const CallArgs& args, const Op& op) noexcept {
  try {
    std::ostringstream text;
    const auto& schema = op.handle.schema();
    text << schema.name();
    if (!schema.overload_name().empty()) text << "." << schema.overload_name();
    text << "(";
    const char* separator = "";
    auto shape = [&](napi_value value) {
      int64_t handle;
      if (napi_get_value_int64(args.env, value, &handle) != napi_ok) return;
      std::ostringstream part;
      try {
        const at::Tensor& tensor = args.state->tensors.get(handle);
        part << tensor.scalar_type() << tensor.sizes();
      } catch (const DisposedTensor&) {
        part << "disposed";
      } catch (...) {
        part << "[?]";
      }
      text << separator << part.str();
      separator = ", ";
    };
    for (size_t i = 0; i < op.args.size() && i + 1 < args.count; ++i) {
      if (op.args[i].kind == ArgKind::Tensor) shape(args[i + 1]);
      if (op.args[i].kind == ArgKind::TensorList) {
        try {
          forEach(args.env, args[i + 1], shape);
        } catch (const NapiFailure&) {
        }
      }
    }
    text << ")";
    return text.str();
  } catch (...) {
    return {};
  }
}

// Marks the innermost watch where an argument requires gradients.
static void noteGrad(Env& state, const torch::jit::Stack& stack) {
  const auto requiresGrad = [](const IValue& value) { return value.isTensor() && value.toTensor().requires_grad(); };
  for (const IValue& value : stack) {
    bool found = requiresGrad(value);
    if (value.isList())
      for (const IValue& element : value.toListRef()) found = found || requiresGrad(element);
    if (found) state.gradWatches.back() = 1;
  }
}

static napi_value callOp(const CallArgs& args, const Op& op) {
  const size_t given = args.count - 1;
  const size_t wanted = op.args.size();
  if (given > wanted) throw NapiFailure("too many arguments");
  torch::jit::Stack stack;
  stack.reserve(wanted);
  const auto& schemaArgs = op.handle.schema().arguments();
  for (size_t i = 0; i < wanted; ++i) {
    const ArgSpec& spec = op.args[i];
    const bool present = i < given && (spec.kind == ArgKind::Tensor || !isNullish(args.env, args[i + 1]));
    if (present) {
      try {
        stack.push_back(toIValue(args, spec, args[i + 1]));
      } catch (const NapiFailure& failure) {
        throw NapiFailure("argument '" + schemaArgs[i].name() + "': " + failure.what());
      }
    } else if (schemaArgs[i].default_value().has_value()) {
      stack.push_back(*schemaArgs[i].default_value());
    } else if (spec.optional) {
      stack.emplace_back();
    } else {
      throw NapiFailure("missing argument '" + schemaArgs[i].name() + "'");
    }
  }
  if (!args.state->gradWatches.empty() && op.passesGradient) noteGrad(*args.state, stack);
  op.handle.callBoxed(&stack);
  if (op.returnsSelf || op.returnsVoid) return nullptr;
  NewHandles made(args);
  if (stack.size() == 1) return made.keep(fromIValue(args, std::move(stack[0]), made));
  napi_value array;
  check(napi_create_array_with_length(args.env, stack.size(), &array), "array");
  for (size_t i = 0; i < stack.size(); ++i) {
    check(napi_set_element(args.env, array, i, fromIValue(args, std::move(stack[i]), made)), "array element");
  }
  return made.keep(array);
}

// call(opId, ...arguments): the hot path, hence not through guarded(), whose context would be built on every call.
static napi_value call(napi_env env, napi_callback_info info) {
  Env* state = nullptr;
  const Op* op = nullptr;
  c10::optional<CallArgs> args;
  try {
    args.emplace(env, info);
    state = args->state;
    op = &state->ops->at(toInt(env, (*args)[0]));
    return callOp(*args, *op);
  } catch (...) {
    if (state == nullptr) {
      napi_throw_error(env, nullptr, "internal: the addon has no environment");
    } else {
      throwCurrentException(state, op == nullptr ? "" : describe(*args, *op).c_str());
    }
    return nullptr;
  }
}

CRAFT_FUNCTION(declareOp) {
  return fromInt(args.env, args.state->ops->declare(toString(args.env, args[0]), toString(args.env, args[1])));
}

// findOp(name, overload): as declareOp, but -1 where this libtorch lacks the operator
CRAFT_FUNCTION(findOp) {
  const std::string name = toString(args.env, args[0]);
  const std::string overload = toString(args.env, args[1]);
  const bool known = c10::Dispatcher::singleton().findSchema({name, overload}).has_value();
  return fromInt(args.env, known ? args.state->ops->declare(name, overload) : -1);
}

CRAFT_FUNCTION(schemaOf) {
  std::ostringstream text;
  text << args.state->ops->at(toInt(args.env, args[0])).handle.schema();
  return fromString(args.env, text.str());
}

CRAFT_FUNCTION(operatorNames) {
  const auto names = c10::Dispatcher::singleton().getAllOpNames();
  napi_value array;
  check(napi_create_array_with_length(args.env, names.size(), &array), "array");
  for (size_t i = 0; i < names.size(); ++i) {
    const std::string& overload = names[i].overload_name;
    const std::string name = overload.empty() ? names[i].name : names[i].name + "." + overload;
    check(napi_set_element(args.env, array, i, fromString(args.env, name)), "array element");
  }
  return array;
}

void registerDispatch(napi_env env, napi_value exports) {
  exportFunction(env, exports, "call", call);
  exportFunction(env, exports, "declareOp", declareOp);
  exportFunction(env, exports, "findOp", findOp);
  exportFunction(env, exports, "schemaOf", schemaOf);
  exportFunction(env, exports, "operatorNames", operatorNames);
}

}  // namespace craft
