// Random numbers, threads, devices, versions: libtorch's process-wide state.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <dlfcn.h>
#ifdef __linux__
#include <dirent.h>
#include <sched.h>
#endif
#include <torch/version.h>

#include <climits>
#include <cstdlib>
#include <mutex>

// Known once a header of the C library was read.
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "napi.h"

namespace craft {

CRAFT_FUNCTION(manualSeed) {
  const auto seed = toSeed(args.env, args[0]);
  auto seedOne = [seed](at::Generator generator) {
    std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_current_seed(seed);
  };
  seedOne(at::globalContext().defaultGenerator(at::Device(at::kCPU)));
  if (at::globalContext().hasCUDA()) {
    const auto count = at::detail::getCUDAHooks().getNumGPUs();
    for (int i = 0; i < count; ++i) seedOne(at::globalContext().defaultGenerator(at::Device(at::kCUDA, i)));
  }
  return nullptr;
}

// newGenerator(seed): a generator of its own on the CPU
CRAFT_FUNCTION(newGenerator) {
  at::Generator original = at::globalContext().defaultGenerator(at::Device(at::kCPU));
  at::Generator generator = [&] {
    std::lock_guard<std::mutex> lock(original.mutex());
    return original.clone();
  }();
  generator.set_current_seed(toSeed(args.env, args[0]));
  return fromInt(args.env, args.state->generators.add(std::move(generator)));
}
CRAFT_FUNCTION(releaseGenerator) {
  args.state->generators.remove(toInt(args.env, args[0]));
  return nullptr;
}

static at::Generator generatorArg(const CallArgs& args, size_t i) {
  napi_valuetype type;
  check(napi_typeof(args.env, args[i], &type), "typeof");
  if (type == napi_number) return args.state->generators.get(toInt(args.env, args[i]));
  return at::globalContext().defaultGenerator(at::Device(toString(args.env, args[i])));
}

// rngState(generator handle | device string): a uint8 tensor
CRAFT_FUNCTION(rngState) {
  at::Generator generator = generatorArg(args, 0);
  std::lock_guard<std::mutex> lock(generator.mutex());
  return newTensor(args, generator.get_state());
}
CRAFT_FUNCTION(setRngState) {
  at::Generator generator = generatorArg(args, 0);
  std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_state(tensorArg(args, 1));
  return nullptr;
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

// configure(threads | null): what suits a training program, once per process: the first call decides, whichever thread makes it
CRAFT_FUNCTION(configure) {
  const int threads = args.has(0) ? static_cast<int>(toInt(args.env, args[0])) : 0;
  static std::once_flag first;
  std::call_once(first, [threads] {
    keepFreedMemory();
    if (threads > 0) at::set_num_threads(threads);
  });
  return nullptr;
}

CRAFT_FUNCTION(numThreads) { return fromInt(args.env, at::get_num_threads()); }
CRAFT_FUNCTION(setNumThreads) {
  at::set_num_threads(static_cast<int>(toInt(args.env, args[0])));
  return nullptr;
}

// leaveRealTime(): threads of this process that have a real-time priority go back to the ordinary one
CRAFT_FUNCTION(leaveRealTime) {
#ifdef __linux__
  DIR* threads = opendir("/proc/self/task");
  if (threads == nullptr) return nullptr;
  const sched_param ordinary{};
  while (const dirent* entry = readdir(threads)) {
    const int thread = std::atoi(entry->d_name);
    if (thread <= 0) continue;
    const int policy = sched_getscheduler(thread) & ~SCHED_RESET_ON_FORK;
    if (policy == SCHED_FIFO || policy == SCHED_RR) sched_setscheduler(thread, SCHED_OTHER, &ordinary);
  }
  closedir(threads);
#endif
  return nullptr;
}

CRAFT_FUNCTION(cudaDeviceCount) {
  return fromInt(args.env, at::globalContext().hasCUDA() ? at::detail::getCUDAHooks().getNumGPUs() : 0);
}
// loadLibrary(path): a library that registers operators with libtorch; it stays loaded
CRAFT_FUNCTION(loadLibrary) {
  const std::string path = toString(args.env, args[0]);
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) {
    const char* reason = dlerror();
    throw NapiFailure(reason == nullptr ? "it cannot be loaded" : reason);
  }
  return nullptr;
}

CRAFT_FUNCTION(version) { return fromString(args.env, TORCH_VERSION); }

// setErrorClasses(TorchError, TensorDisposedError)
CRAFT_FUNCTION(setErrorClasses) {
  check(napi_create_reference(args.env, args[0], 1, &args.state->torchError), "reference");
  check(napi_create_reference(args.env, args[1], 1, &args.state->disposedError), "reference");
  return nullptr;
}

// adjustExternalMemory(bytes): lets the garbage collector feel the weight of tensors outside any scope
CRAFT_FUNCTION(adjustExternalMemory) {
  int64_t total = 0;
  check(napi_adjust_external_memory(args.env, toInt(args.env, args[0]), &total), "external memory");
  return nullptr;
}

void registerRuntime(napi_env env, napi_value exports) {
  exportFunction(env, exports, "manualSeed", manualSeed);
  exportFunction(env, exports, "newGenerator", newGenerator);
  exportFunction(env, exports, "releaseGenerator", releaseGenerator);
  exportFunction(env, exports, "rngState", rngState);
  exportFunction(env, exports, "setRngState", setRngState);
  exportFunction(env, exports, "configure", configure);
  exportFunction(env, exports, "numThreads", numThreads);
  exportFunction(env, exports, "setNumThreads", setNumThreads);
  exportFunction(env, exports, "leaveRealTime", leaveRealTime);
  exportFunction(env, exports, "cudaDeviceCount", cudaDeviceCount);
  exportFunction(env, exports, "loadLibrary", loadLibrary);
  exportFunction(env, exports, "version", version);
  exportFunction(env, exports, "setErrorClasses", setErrorClasses);
  exportFunction(env, exports, "adjustExternalMemory", adjustExternalMemory);
}

}  // namespace craft
